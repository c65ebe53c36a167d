"""A Smooth-LoRA trained on the host's model: set up, kept on disk as it goes, and handed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import comfy.model_sampling
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.train_state import restore_state, save_state
from ...smooth_lora.trained_pairs import TrainedPair, new_pairs
from ...smooth_lora.training import COLUMNS, Data, Settings, Trainer
from ...smooth_lora.training_report import training_report
from .fingerprint import fingerprint
from .latent_space import scale_of
from .results import NOT_IN_NAMES
from .train_pass import TrainNetwork, train
from .train_targets import target_shapes
from .training_set import WHO, TrainingSet

ENDING = ".training.safetensors"
FOLDERS, LONGEST_NAME = set("/\\"), 100
PREFIX = "diffusion_model."  # of the host's names for the layers of a diffusion network
BATCHES_IN_MEMORY = 4  # of inference, for which the host is to free memory: a graph takes more than a plain call


@dataclass(frozen=True)
class Run:
    """How a training is kept.

    name: of its file; save_every: steps; rank, targets: of the pairs; low_memory: compute blocks again on the way back
    """

    name: str
    rank: int = 8
    targets: str = "attention"
    save_every: int = 100
    low_memory: bool = False


@dataclass(frozen=True)
class Trained:
    """The pairs as float32 tensors by the host's names, and the log, one row of COLUMNS for each step.

    resumed: steps that an earlier run had done
    """

    lora: dict[str, Tensor]
    log: tuple[tuple[float, ...], ...]
    resumed: int


def state_path(name: str) -> Path:
    """Where a training is kept, in a folder of the host that no page can read.

    raises: ValueError for a name that is no plain file name
    """
    plain = not NOT_IN_NAMES.search(name) and not FOLDERS & set(name) and name.strip(". ") == name
    if not (plain and 0 < len(name) <= LONGEST_NAME):
        raise ValueError(f"{WHO}: name {name[:80]!r} makes no file name; give a plain name without folders, such as "
                         "my_smooth_lora")
    return Path(folder_paths.get_system_user_directory("smooth_diffusion")) / "training" / (name + ENDING)


def train_lora(model: ModelPatcher, pictures: TrainingSet, settings: Settings, run: Run) -> Trained:
    """Train, or go on where a run of that name with the same settings was left. Without an empty text no caption is
    left empty.

    raises: ValueError before any work for what cannot be trained, or later for a loss that is not finite; the host's
            interrupt between model calls; in either case the last whole step is on disk
    """
    scale, path = scale_of(model, WHO, "training"), state_path(run.name)
    if pictures.empty is None:
        settings = replace(settings, empty_share=0.0)
    facts = {"model": fingerprint(model), "pictures": pictures.key(), "rank": str(run.rank), "targets": run.targets}
    with torch.inference_mode(False), torch.enable_grad():
        pairs = _pairs_on(model, new_pairs(target_shapes(model.model.diffusion_model, run.targets), run.rank,
                                           settings.seed))
        done: list[Trained] = []
        _make_folder(path.parent)

        def job(network: TrainNetwork) -> None:
            trainer = Trainer(settings, pairs, _data(model, pictures, network.device), network.denoiser_for, scale,
                              v_prediction=_predicts_v(model))
            if path.exists():
                restore_state(trainer, path, facts)
            resumed = trainer.step
            _run(trainer, path, facts, run.save_every)
            done.append(Trained(_lora(trainer), tuple(trainer.log), resumed))

        largest = max(pictures.latents, key=lambda latent: latent.numel()).shape
        train(_in_float32(model), pictures.texts, pictures.empty or pictures.texts[0], pairs, job,
              (settings.batch_size * BATCHES_IN_MEMORY, *largest), estimator=settings.estimator,
              low_memory=run.low_memory)
    return done[0]


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
        raise OSError(f"{WHO}: the folder {folder} cannot be made ({error}); move what is in its place, or let ComfyUI "
                      "write to its user folder") from error


def _run(trainer: Trainer, path: Path, facts: Mapping[str, str], save_every: int) -> None:
    bar = comfy.utils.ProgressBar(trainer.settings.steps)
    bar.update_absolute(trainer.step)
    saved = trainer.step

    def on_step(trainer: Trainer) -> None:
        nonlocal saved
        bar.update_absolute(trainer.step)
        if trainer.step % save_every == 0 or trainer.step == trainer.settings.steps:
            save_state(trainer, path, facts)
            saved = trainer.step

    try:
        trainer.run(on_step)
    except BaseException:
        if trainer.step > saved:
            save_state(trainer, path, facts)
        raise


def _pairs_on(model: ModelPatcher, pairs: Mapping[str, TrainedPair]) -> dict[str, TrainedPair]:
    """The pairs on the device that the network computes on."""
    device = model.load_device
    return {name: TrainedPair(*(torch.nn.Parameter(weight.data.to(device)) for weight in (pair.down, pair.up)))
            for name, pair in pairs.items()}


def _data(model: ModelPatcher, pictures: TrainingSet, device: torch.device) -> Data:
    inside = model.get_model_object("process_latent_in")
    latents = [inside(latent[None].clone())[0].to(device, torch.float32) for latent in pictures.latents]
    return Data(latents, model.get_model_object("model_sampling").sigmas.detach().cpu().double().clone())


def _predicts_v(model: ModelPatcher) -> bool:
    return isinstance(model.get_model_object("model_sampling"), comfy.model_sampling.V_PREDICTION)


def _lora(trainer: Trainer) -> dict[str, Tensor]:
    """By the host's names; the averaged weights where the training keeps them."""
    weights = trainer.averaged or trainer.weights
    return {f"{PREFIX}{name.rpartition('.')[0]}.lora_{name.rpartition('.')[2]}.weight":
            weight.detach().float().cpu().clone() for name, weight in weights.items()}


def report(trained: Trained, pictures: TrainingSet, settings: Settings, run: Run) -> str:
    """The training in words."""
    notes = [f"Kept as {run.name}{ENDING} in ComfyUI's user folder: the same name goes on from here."]
    if pictures.empty is None:
        notes.append("No empty_text was wired, so no caption was left empty: the LoRA acts on the positive text alone, "
                     "which a cfg above 1 may show.")
    return training_report(run.name, settings, trained.log, layers=len(trained.lora) // 2, rank=run.rank,
                           numbers=sum(tensor.numel() for tensor in trained.lora.values()), resumed=trained.resumed,
                           notes=notes)


def loss_map(log: tuple[tuple[float, ...], ...]) -> dict[str, list[float]]:
    """What the host's loss graph draws."""
    return {"loss": [row[COLUMNS.index("base")] for row in log]}
