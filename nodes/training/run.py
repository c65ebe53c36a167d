"""A Smooth-LoRA trained on the host's model: set up, kept on disk as it goes, and handed over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.training.loop import COLUMNS, Settings
from ...smooth_lora.training.state import restore_state
from ...smooth_lora.training.trained_pairs import TrainedPair, new_pairs
from ...smooth_lora.training.training_report import training_record, training_report
from ...smooth_lora.wording import shortened
from ..host.folders import NOT_IN_NAMES, user_folder
from ..model.fingerprint import fingerprint
from ..model.latent_space import scale_of
from .check import TrainingCheck
from .pictures import WHO, TrainingSet
from .stretches import ENDING, TrainingWork, Watch, lora_of, train_and_check
from .targets import target_shapes

FOLDERS, LONGEST_NAME = set("/\\"), 100


@dataclass(frozen=True)
class Run:
    """How a training is kept.

    name: of its file; save_every, check_every: steps; rank, targets: of the pairs; low_memory: compute blocks again on
    the way back
    """

    name: str
    rank: int = 8
    targets: str = "attention"
    save_every: int = 100
    low_memory: bool = False
    check_every: int = 0


@dataclass(frozen=True)
class Trained:
    """The pairs as float32 tensors by the host's names, the log, one row of COLUMNS for each step, and the checks, one
    row of CHECK_COLUMNS each.

    strips: [checks, H, W, 3] the first walk at each check; None without a check, and in all processes but the first
    resumed: steps that an earlier run had done; facts: what the model and the pictures were
    """

    lora: dict[str, Tensor]
    log: tuple[tuple[float, ...], ...]
    checks: tuple[tuple[float, ...], ...]
    strips: Tensor | None
    resumed: int
    facts: Mapping[str, str]


def state_path(name: str) -> Path:
    """Where a training is kept, in a folder of the host that no page can read.

    raises: ValueError for a name that is no plain file name
    """
    plain = not NOT_IN_NAMES.search(name) and not FOLDERS & set(name) and name.strip(". ") == name
    if not (plain and 0 < len(name) <= LONGEST_NAME):
        raise ValueError(
            f"{WHO}: name {shortened(name, 80)!r} makes no file name; give a plain name without folders, such as "
            "my_smooth_lora"
        )
    return user_folder("training") / (name + ENDING)


def train_lora(
    model: ModelPatcher,
    pictures: TrainingSet,
    settings: Settings,
    run: Run,
    check: TrainingCheck | None = None,
    watch: Watch = lambda trainer: None,
) -> Trained:
    """Train, or go on where a run of that name with the same settings was left. Without an empty text no caption is
    left empty. Processes of one torch.distributed group train together: each calls this with the same arguments, and
    the first one checks and writes.

    check:  made at the start, every run.check_every steps (0: not between), and at the end
    watch:  called after every step and every check; may raise to stop, in all processes after the same step
    raises: ValueError before any work for what cannot be trained, or later for a loss that is not finite; the host's
            interrupt between model calls; in either case the last whole step is on disk
    """
    scale, path = scale_of(model, WHO, "training"), state_path(run.name)
    if pictures.empty is None:
        if settings.pace_lambda and settings.pace_cfg != 1:
            raise ValueError(
                f"{WHO}: pace_lambda draws walks at cfg {settings.pace_cfg:g}, which needs the empty "
                "text; wire a text encode node without words to empty_text, or set pace_cfg to 1"
            )
        settings = replace(settings, empty_share=0.0)
    facts = {"model": fingerprint(model), "pictures": pictures.key(), "rank": str(run.rank), "targets": run.targets}
    with torch.inference_mode(False), torch.enable_grad():
        pairs = _pairs_on(
            model, new_pairs(target_shapes(model.model.diffusion_model, run.targets), run.rank, settings.seed)
        )
        _make_folder(path.parent)
        work = TrainingWork(_in_float32(model), pictures, settings, scale, pairs, check, low_memory=run.low_memory)
        if work.processes.size > 1:
            facts["processes"] = str(work.processes.size)
        if path.exists():
            restore_state(work.trainer, path, facts)
        resumed = work.trainer.step
        _require_together(
            work, {**facts, **asdict(settings), **asdict(run), "step": resumed, "check": check.key if check else ""}
        )
        train_and_check(work, model, path, facts, save_every=run.save_every, check_every=run.check_every, watch=watch)
        strips = None
        if check is not None and work.processes.rank == 0:
            strips = check.strips(path.parent, run.name, [row[0] for row in work.trainer.checks])
    return Trained(lora_of(work.trainer), tuple(work.trainer.log), tuple(work.trainer.checks), strips, resumed, facts)


def _require_together(work: TrainingWork, own: Mapping[str, object]) -> None:
    """Wait until every process is ready to train.

    own:    what must be the same in all of them
    raises: ValueError naming the first difference
    """
    everyone = [json.loads(said) for said in work.processes.gathered(json.dumps(own))]
    for rank, other in enumerate(everyone):
        name = next((name for name in own if other.get(name) != everyone[0].get(name)), None)
        if name is not None:
            raise ValueError(
                f"{WHO}: process {rank} has {name} {other.get(name)!r} where process 0 has "
                f"{everyone[0].get(name)!r}; give all of them the same config, checkpoint and pictures, "
                "and one user folder of ComfyUI"
            )


def _in_float32(model: ModelPatcher) -> ModelPatcher:
    """The model computing in float32 from whatever its weights are stored in: half precision cannot take a difference
    small enough for a trained network, see `variation_gradient.STEPS`."""
    if model.model.get_dtype_inference() == torch.float32:
        return model
    model = model.clone()
    model.set_model_compute_dtype(torch.float32)
    return model


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"{WHO}: the folder {folder} cannot be made ({error}); move what is in its place, or let ComfyUI "
            "write to its user folder"
        ) from error


def _pairs_on(model: ModelPatcher, pairs: Mapping[str, TrainedPair]) -> dict[str, TrainedPair]:
    """The pairs on the device that the network computes on."""
    device = model.load_device
    return {
        name: TrainedPair(*(torch.nn.Parameter(weight.data.to(device)) for weight in (pair.down, pair.up)))
        for name, pair in pairs.items()
    }


def report(trained: Trained, pictures: TrainingSet, settings: Settings, run: Run) -> str:
    """The training in words."""
    notes = [f"Kept as {run.name}{ENDING} in ComfyUI's user folder: the same name goes on from here."]
    if pictures.empty is None:
        notes.append(
            "No empty_text was wired, so no caption was left empty: the LoRA acts on the positive text alone, "
            "which a cfg above 1 may show."
        )
    if "processes" in trained.facts:
        count = int(trained.facts["processes"])
        notes.append(
            f"{count} processes trained together, so a step was of "
            f"{count * settings.batch_size * settings.accumulation} pictures in all."
        )
    return training_report(
        run.name,
        settings,
        trained.log,
        layers=len(trained.lora) // 2,
        rank=run.rank,
        numbers=sum(tensor.numel() for tensor in trained.lora.values()),
        resumed=trained.resumed,
        checks=trained.checks,
        notes=notes,
    )


def record(trained: Trained, settings: Settings, run: Run) -> str:
    """The training as JSON, for the file of its LoRA."""
    facts = {
        "name": run.name,
        "base_model": trained.facts["model"],
        "data": trained.facts["pictures"],
        "rank": run.rank,
        "targets": run.targets,
        "processes": int(trained.facts.get("processes", 1)),
    }
    return json.dumps({**facts, **training_record(settings, trained.log, trained.checks)}, indent=1)


def loss_map(log: tuple[tuple[float, ...], ...]) -> dict[str, list[float]]:
    """What the host's loss graph draws."""
    return {"loss": [row[COLUMNS.index("base")] for row in log]}
