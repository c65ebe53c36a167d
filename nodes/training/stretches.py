"""A training under way: the host's network loaded for a stretch of steps, checked, and loaded again."""

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
from ...smooth_lora.training.loop import Data, Settings, Trainer
from ...smooth_lora.training.processes import Processes
from ...smooth_lora.training.state import save_state
from ...smooth_lora.training.trained_pairs import TrainedPair
from .check import TrainingCheck, with_lora
from .network import TrainNetwork, train
from .pictures import TrainingSet

PREFIX = "diffusion_model."  # of the host's names for the layers of a diffusion network
ENDING = ".training.safetensors"
BATCHES_IN_MEMORY = 4  # of inference, for which the host is to free memory: a graph takes more than a plain call
Watch = Callable[[Trainer], None]  # called after every step and every check; may raise to stop


class TrainingWork:
    """A training and the host's network under it, which is loaded for one stretch of steps after the other."""

    def __init__(
        self,
        model: ModelPatcher,
        pictures: TrainingSet,
        settings: Settings,
        scale: Scale,
        pairs: Mapping[str, TrainedPair],
        check: TrainingCheck | None,
        *,
        low_memory: bool,
    ):
        self.pictures, self.check, self.low_memory = pictures, check, low_memory
        self.held_out = check.pictures if check is not None else None
        self._model, self._scale, self._pairs = model, scale, pairs
        self._network: TrainNetwork | None = None
        self._v_prediction = _predicts_v(model)
        self.processes = Processes.present()
        self.trainer = Trainer(
            settings,
            pairs,
            _data(model, pictures),
            self._denoiser,
            scale,
            v_prediction=self._v_prediction,
            processes=self.processes,
        )

    def loaded(self, job: Callable[[], None]) -> None:
        """Do a job for which the network is loaded; the texts are those of the training, then those held out."""

        def with_network(network: TrainNetwork) -> None:
            self._network = network
            job()

        held_out = self.held_out.texts if self.held_out is not None else ()
        sets = [part for part in (self.pictures, self.held_out) if part is not None]
        largest = max((latent for part in sets for latent in part.latents), key=lambda latent: latent.numel()).shape
        settings = self.trainer.settings
        try:
            train(
                self._model,
                [*self.pictures.texts, *held_out],
                self.pictures.empty or self.pictures.texts[0],
                self._pairs,
                with_network,
                (settings.batch_size * BATCHES_IN_MEMORY, *largest),
                estimator=settings.estimator,
                low_memory=self.low_memory,
            )
        finally:
            self._network = None

    def save(self, path: Path, facts: Mapping[str, str]) -> None:
        """Write the training; of several processes the first one does."""
        if self.processes.rank == 0:
            save_state(self.trainer, path, facts)

    def held_out_loss(self) -> float:
        """The base loss on the pictures held out."""
        first, found = len(self.pictures.texts), []

        def denoiser_for(places: Sequence[int], empty: Sequence[bool]) -> DenoiseRows:
            return self._denoiser([first + place for place in places], empty)

        self.loaded(
            lambda: found.append(
                held_out_loss(
                    denoiser_for, _data(self._model, self.held_out), self._scale, v_prediction=self._v_prediction
                )
            )
        )
        return found[0]

    def _denoiser(self, places: Sequence[int], empty: Sequence[bool], rounded: bool = False) -> DenoiseRows:
        return self._network.denoiser_for(places, empty, rounded)


def train_and_check(
    work: TrainingWork,
    model: ModelPatcher,
    path: Path,
    facts: Mapping[str, str],
    *,
    save_every: int,
    check_every: int,
    watch: Watch,
) -> None:
    """Steps until the next check, the check, and so on to the end; checks that an earlier run has made stay.

    model:       without the pairs; path: of the training's file, whose name begins those of the checks
    check_every: steps, 0 for a check at the start and at the end alone
    """
    trainer, check = work.trainer, work.check
    if check is not None and trainer.checks_of != check.key:
        trainer.checks, trainer.checks_of = [], check.key
    while True:
        if check is not None and _due(trainer, check_every):
            trainer.checks.append(_checked_once(work, model, path))
            work.save(path, facts)
            watch(trainer)
        if trainer.step >= trainer.settings.steps:
            return
        until = trainer.settings.steps
        if check is not None and check_every:
            until = min(until, (trainer.step // check_every + 1) * check_every)
        work.loaded(partial(_run, work, path, facts, save_every, until, watch))


def _checked_once(work: TrainingWork, model: ModelPatcher, path: Path) -> tuple[float, ...]:
    """The row of a check that the first of several processes makes, while the others wait for it."""
    row = _checked(work, model, path) if work.processes.rank == 0 else ()
    return tuple(json.loads(work.processes.gathered(json.dumps(row))[0]))


def _checked(work: TrainingWork, model: ModelPatcher, path: Path) -> tuple[float, ...]:
    """A row of CHECK_COLUMNS."""
    trainer, base = work.trainer, math.nan
    if work.held_out is not None:
        with _averaged_in_place(trainer):
            base = work.held_out_loss()
    with torch.inference_mode():
        walks = work.check.walks(
            with_lora(model, lora_of(trainer)), path.parent, path.name.removesuffix(ENDING), trainer.step
        )
    return (trainer.step, *walks, base)


def _due(trainer: Trainer, every: int) -> bool:
    if trainer.step in {row[0] for row in trainer.checks}:
        return False
    return trainer.step in (0, trainer.settings.steps) or (every > 0 and trainer.step % every == 0)


@contextmanager
def _averaged_in_place(trainer: Trainer) -> Iterator[None]:
    """Within it, the pairs hold the averaged weights, if the training keeps them: what is checked is what is given."""
    held = {name: trainer.weights[name].detach().clone() for name in trainer.averaged}
    with torch.no_grad():
        for name, averaged in trainer.averaged.items():
            trainer.weights[name].copy_(averaged)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, weight in held.items():
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


def _data(model: ModelPatcher, pictures: TrainingSet) -> Data:
    """In model units, on the device that the network computes on."""
    inside = model.get_model_object("process_latent_in")
    latents = [inside(latent[None].clone())[0].to(model.load_device, torch.float32) for latent in pictures.latents]
    return Data(latents, model.get_model_object("model_sampling").sigmas.detach().cpu().double().clone())


def _predicts_v(model: ModelPatcher) -> bool:
    return isinstance(model.get_model_object("model_sampling"), comfy.model_sampling.V_PREDICTION)


def lora_of(trainer: Trainer) -> dict[str, Tensor]:
    """By the host's names; the averaged weights where the training keeps them."""
    weights = trainer.averaged or trainer.weights
    return {
        f"{PREFIX}{name.rpartition('.')[0]}.lora_{name.rpartition('.')[2]}.weight": weight.detach()
        .float()
        .cpu()
        .clone()
        for name, weight in weights.items()
    }
