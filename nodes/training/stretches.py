"""A training under way: the host's network is loaded for a number of steps, checked, and loaded again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import comfy.model_sampling
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.sampling.denoise import DenoiseRows
from ...smooth_lora.sampling.scale import Scale
from ...smooth_lora.training.held_out import held_out_loss
from ...smooth_lora.training.loop import Trainer, TrainingData
from ...smooth_lora.training.processes import Processes
from ...smooth_lora.training.settings import TrainingRun, TrainingSettings
from ...smooth_lora.training.state import save_state
from ...smooth_lora.training.trained_pairs import TrainedPair
from .check import TrainingCheck, with_lora
from .images import TrainingSet
from .network import TrainNetwork, run_on_network

LAYER_PREFIX = "diffusion_model."  # of the host's names for the layers of a diffusion network
TRAINING_ENDING = ".training.safetensors"
BATCHES_IN_MEMORY = 4  # of inference, for which the host is to free memory: a graph takes more than a plain call
Watch = Callable[[Trainer], None]  # called after every step and every check; may raise to stop


class TrainingWork:
    """A training and the host's network under it, which is loaded for some steps at a time."""

    def __init__(
        self,
        model: ModelPatcher,
        images: TrainingSet,
        settings: TrainingSettings,
        scale: Scale,
        pairs: Mapping[str, TrainedPair],
        check: TrainingCheck | None,
        *,
        low_memory: bool,
    ):
        self.images, self.check, self.low_memory = images, check, low_memory
        self._model, self._scale, self._pairs = model, scale, pairs
        self._network: TrainNetwork | None = None
        self._v_prediction = _predicts_v(model)
        self.processes = Processes.present()
        self.trainer = Trainer(
            settings,
            pairs,
            _data(model, images),
            self._denoiser,
            scale,
            v_prediction=self._v_prediction,
            processes=self.processes,
        )

    def loaded(self, job: Callable[[], None]) -> None:
        """Does a job with the network loaded; its texts are those of the training, then those held out."""

        def with_network(network: TrainNetwork) -> None:
            self._network = network
            job()

        held_out = None if self.check is None else self.check.held_out
        sets = [self.images] if held_out is None else [self.images, held_out]
        largest = max((latent for one in sets for latent in one.latents), key=Tensor.numel).shape
        settings = self.trainer.settings
        try:
            run_on_network(
                self._model,
                [text for one in sets for text in one.texts],
                self._pairs,
                with_network,
                empty=self.images.empty or self.images.texts[0],
                shape=(settings.batch_size * BATCHES_IN_MEMORY, *largest),
                estimator=settings.estimator,
                low_memory=self.low_memory,
            )
        finally:
            self._network = None

    def save(self, path: Path, facts: Mapping[str, str]) -> None:
        """Writes the training; of several processes the first one does."""
        if self.processes.rank == 0:
            save_state(self.trainer, path, facts)

    def held_out_loss(self, held_out: TrainingSet) -> float:
        """The base loss on the images held out."""
        first = len(self.images.texts)
        losses: list[float] = []

        def denoiser_for(images: Sequence[int], empty: Sequence[bool], /, *, may_round: bool) -> DenoiseRows:
            return self._denoiser([first + image for image in images], empty, may_round=may_round)

        def job() -> None:
            data = _data(self._model, held_out)
            losses.append(held_out_loss(denoiser_for, data, self._scale, v_prediction=self._v_prediction))

        self.loaded(job)
        return losses[0]

    def _denoiser(self, images: Sequence[int], empty: Sequence[bool], /, *, may_round: bool) -> DenoiseRows:
        if self._network is None:
            raise RuntimeError("the network is not loaded")
        return self._network.denoiser_for(images, empty, may_round=may_round)


def train_and_check(
    work: TrainingWork, model: ModelPatcher, path: Path, facts: Mapping[str, str], *, run: TrainingRun, watch: Watch
) -> None:
    """Trains until the next check, makes it, and so on to the end; checks that an earlier run made stay.

    model: without the pairs; path: of the training's file, whose name begins those of the checks
    """
    trainer, check = work.trainer, work.check
    if check is not None and trainer.checks_of != check.key:
        trainer.checks, trainer.checks_of = [], check.key
    while True:
        if check is not None and _due(trainer, run.check_every):
            trainer.checks.append(_checked_by_first(work, check, model, path))
            work.save(path, facts)
            watch(trainer)
        if trainer.step >= trainer.settings.steps:
            return
        until = trainer.settings.steps
        if check is not None and run.check_every:
            until = min(until, (trainer.step // run.check_every + 1) * run.check_every)
        work.loaded(partial(_run, work, path, facts, run.save_every, until, watch))


def _checked_by_first(work: TrainingWork, check: TrainingCheck, model: ModelPatcher, path: Path) -> tuple[float, ...]:
    """Returns the row of a check that the first of several processes makes, while the others wait for it."""
    row = _checked(work, check, model, path) if work.processes.rank == 0 else ()
    return tuple(json.loads(work.processes.gathered(json.dumps(row))[0]))


def _checked(work: TrainingWork, check: TrainingCheck, model: ModelPatcher, path: Path) -> tuple[float, ...]:
    """Makes a row of CHECK_COLUMNS."""
    trainer, base = work.trainer, math.nan
    if check.held_out is not None:
        with _averaged_in_place(trainer):
            base = work.held_out_loss(check.held_out)
    with torch.inference_mode():
        trained = with_lora(model, lora_of(trainer))
        scores = check.scores(trained, path.parent, path.name.removesuffix(TRAINING_ENDING), trainer.step)
    return (trainer.step, *scores, base)


def _due(trainer: Trainer, every: int) -> bool:
    if trainer.step in {row[0] for row in trainer.checks}:
        return False
    return trainer.step in (0, trainer.settings.steps) or (every > 0 and trainer.step % every == 0)


@contextmanager
def _averaged_in_place(trainer: Trainer) -> Iterator[None]:
    """Puts the averaged weights into the pairs within it, if the training keeps them: a check sees what is returned."""
    present = {name: trainer.weights[name].detach().clone() for name in trainer.averaged}
    with torch.no_grad():
        for name, averaged in trainer.averaged.items():
            trainer.weights[name].copy_(averaged)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, weight in present.items():
                trainer.weights[name].copy_(weight)


def _run(work: TrainingWork, path: Path, facts: Mapping[str, str], save_every: int, until: int, watch: Watch) -> None:
    trainer = work.trainer
    bar = comfy.utils.ProgressBar(trainer.settings.steps)
    bar.update_absolute(trainer.step)
    saved = trainer.step

    def on_step(trainer: Trainer) -> None:
        nonlocal saved
        bar.update_absolute(trainer.step)
        if trainer.step % save_every == 0 or trainer.step == until:
            work.save(path, facts)
            saved = trainer.step
        watch(trainer)

    try:
        trainer.run(on_step, until)
    except BaseException:
        if trainer.step > saved:
            work.save(path, facts)
        raise


def _data(model: ModelPatcher, images: TrainingSet) -> TrainingData:
    """Returns the images in model units, on the device that the network computes on."""
    to_model = model.get_model_object("process_latent_in")
    latents = [to_model(latent[None].clone())[0].to(model.load_device, torch.float32) for latent in images.latents]
    return TrainingData(latents, model.get_model_object("model_sampling").sigmas.detach().cpu().double().clone())


def _predicts_v(model: ModelPatcher) -> bool:
    return isinstance(model.get_model_object("model_sampling"), comfy.model_sampling.V_PREDICTION)


def lora_of(trainer: Trainer) -> dict[str, Tensor]:
    """Returns the pairs by the host's names; the averaged weights where the training keeps them."""
    weights = trainer.averaged or trainer.weights
    named = {}
    for name, weight in weights.items():
        layer, _, role = name.rpartition(".")
        named[f"{LAYER_PREFIX}{layer}.lora_{role}.weight"] = weight.detach().float().cpu().clone()
    return named
