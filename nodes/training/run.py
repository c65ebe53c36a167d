"""A Smooth-LoRA trained on the host's model: set up, kept on disk as it goes, and handed over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.training.settings import TrainingRun, TrainingSettings
from ...smooth_lora.training.state import restore_state
from ...smooth_lora.training.trained_pairs import TrainedPair, new_pairs
from ...smooth_lora.wording import shortened
from ..host.folders import NOT_IN_NAMES, user_folder
from ..host.names import TRAINER
from ..model.fingerprint import fingerprint
from ..model.latent_space import scale_of
from .check import TrainingCheck
from .images import TrainingSet
from .results import TrainedLora
from .stretches import TRAINING_ENDING, TrainingWork, Watch, lora_of, train_and_check
from .targets import target_shapes

FOLDER_MARKS = set("/\\")
LONGEST_TRAINING_NAME = 100  # characters, endings not included


def state_path(name: str) -> Path:
    """Path of a training's file, in a folder of the host that no page can read.

    raises: ValueError for a name that is no plain file name
    """
    plain = not NOT_IN_NAMES.search(name) and not FOLDER_MARKS & set(name) and name.strip(". ") == name
    if not (plain and 0 < len(name) <= LONGEST_TRAINING_NAME):
        raise ValueError(
            f"{TRAINER}: name {shortened(name, 80)!r} makes no file name; give a plain name without folders, such as "
            "my_smooth_lora"
        )
    return user_folder("training") / (name + TRAINING_ENDING)


def train_lora(
    model: ModelPatcher,
    images: TrainingSet,
    settings: TrainingSettings,
    run: TrainingRun,
    *,
    check: TrainingCheck | None = None,
    watch: Watch = lambda trainer: None,
) -> TrainedLora:
    """Trains, or continues the run of that name with the same settings.

    Without an empty prompt no caption is left empty. Processes of one torch.distributed group train together: each
    calls this with the same arguments, and the first one checks and writes.

    check:  made at the start, every run.check_every steps (0: not between), and at the end
    watch:  called after every step and every check; may raise to stop, in all processes after the same step
    raises: ValueError before any work for what cannot be trained, or later for a loss that is not finite; the host's
            interrupt between model calls; in either case the last whole step is on disk
    """
    scale, path = scale_of(model, TRAINER, "training"), state_path(run.name)
    taken = _without_empty_prompt(settings) if images.empty is None else settings
    facts = {"model": fingerprint(model), "pictures": images.key(), "rank": str(run.rank), "targets": run.targets}
    with torch.inference_mode(False), torch.enable_grad():
        shapes = target_shapes(model.model.diffusion_model, run.targets)
        pairs = _pairs_on(model.load_device, new_pairs(shapes, run.rank, settings.seed))
        _make_folder(path.parent)
        work = TrainingWork(_in_float32(model), images, taken, scale, pairs, check, low_memory=run.low_memory)
        if work.processes.size > 1:
            facts["processes"] = str(work.processes.size)
        if path.exists():
            restore_state(work.trainer, path, facts)
        resumed = work.trainer.step
        shared = {**facts, **asdict(taken), **asdict(run), "step": resumed, "check": check.key if check else ""}
        _require_together(work, shared)
        train_and_check(work, model, path, facts, run=run, watch=watch)
    log, checks, strips = tuple(work.trainer.log), tuple(work.trainer.checks), _strips(work, path.parent, run.name)
    lora, empty_text = lora_of(work.trainer), images.empty is not None
    return TrainedLora(settings, run, facts, lora, log, checks, strips, resumed=resumed, empty_text=empty_text)


def _strips(work: TrainingWork, folder: Path, name: str) -> Tensor | None:
    """Returns the strips of all checks; None without a check, and in all processes but the first."""
    if work.check is None or work.processes.rank != 0:
        return None
    return work.check.strips(folder, name, [int(row[0]) for row in work.trainer.checks])


def _without_empty_prompt(settings: TrainingSettings) -> TrainingSettings:
    """Returns the settings for a training in which no caption can be left empty.

    raises: ValueError if they draw walks with guidance
    """
    if settings.pace_lambda and settings.pace_cfg != 1:
        raise ValueError(
            f"{TRAINER}: pace_lambda draws walks at cfg {settings.pace_cfg:g}, which needs the empty "
            "text; wire a text encode node without words to empty_text, or set pace_cfg to 1"
        )
    return replace(settings, empty_share=0.0)


def _require_together(work: TrainingWork, shared: Mapping[str, object]) -> None:
    """Waits until every process is ready to train.

    shared: must be the same in all of them
    raises: ValueError naming the first difference
    """
    everyone = [json.loads(text) for text in work.processes.gathered(json.dumps(shared))]
    for rank, other in enumerate(everyone):
        name = next((name for name in shared if other.get(name) != everyone[0].get(name)), None)
        if name is not None:
            raise ValueError(
                f"{TRAINER}: process {rank} has {name} {other.get(name)!r} where process 0 has "
                f"{everyone[0].get(name)!r}; give all of them the same config, checkpoint and pictures, "
                "and one user folder of ComfyUI"
            )


def _in_float32(model: ModelPatcher) -> ModelPatcher:
    """Returns the model computing in float32, whatever type its weights are stored in.

    Half precision cannot take a difference small enough for a trained network, see `estimators.DIFFERENCE_STEPS`.
    """
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
            f"{TRAINER}: the folder {folder} cannot be made ({error}); move what is in its place, or let ComfyUI "
            "write to its user folder"
        ) from error


def _pairs_on(device: torch.device, pairs: Mapping[str, TrainedPair]) -> dict[str, TrainedPair]:
    return {
        name: TrainedPair(*(torch.nn.Parameter(weight.data.to(device)) for weight in (pair.down, pair.up)))
        for name, pair in pairs.items()
    }
