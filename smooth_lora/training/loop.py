"""The training of a Smooth-LoRA: one loop, whatever network, host or number of processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..sampling.denoise import DenoiseRows
from ..sampling.scale import Scale
from .drawn_walks import WALK_FRAMES, accumulate_drawn_walk, draw_walk
from .draws import BatchPlan, RowDraw, draw_row, generator_for
from .estimators import Losses, TrainingSample, accumulate, base_share
from .processes import Processes
from .settings import COMPUTE_PRECISIONS, TrainingSettings, learning_rate
from .trained_pairs import TrainedPair, named_weights
from .variation import updated_mean

# Of a step; unevenness is that of drawn walks, 0 without any.
LOG_COLUMNS = ("base", "penalty", "r", "r_spread", "slip", "mean_r", "gradient", "lr", "unevenness")
CHECK_COLUMNS = ("step", "istd", "cv", "step_length", "base")  # of a check on held-out prompts and images
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adafactor": torch.optim.Adafactor,
}


@dataclass(frozen=True)
class TrainingData:
    """Training images.

    latents: one [C, ...] float32 each, in model units
    sigmas:  [T] the table of the model's sigmas, on the CPU; each is drawn equally often
    """

    latents: Sequence[Tensor]
    sigmas: Tensor


class DenoiserFor(Protocol):
    """Gives the denoiser of a batch, conditioned on the prompts of its images.

    images:    indices of the images in the batch; empty: True for those that get the empty prompt
    may_round: allows the network's products to be computed in a lower precision
    """

    def __call__(self, images: Sequence[int], empty: Sequence[bool], /, *, may_round: bool) -> DenoiseRows: ...


class Trainer:
    """Trains pairs in place.

    pairs:        are trained; the denoiser depends on them
    denoiser_for: may raise to stop, and then nothing of the step under way is kept
    scale:        of the model's latents; v_prediction: True if the model's loss is that of v
    """

    def __init__(
        self,
        settings: TrainingSettings,
        pairs: Mapping[str, TrainedPair],
        data: TrainingData,
        denoiser_for: DenoiserFor,
        scale: Scale,
        *,
        v_prediction: bool = False,
        processes: Processes | None = None,
    ):
        self.settings, self.pairs, self.data = settings, pairs, data
        self.step = 0
        self.mean_r: Tensor | None = None
        self.log: list[tuple[float, ...]] = []  # one row of LOG_COLUMNS per step
        self.checks: list[tuple[float, ...]] = []  # one row of CHECK_COLUMNS each, added by whoever checks
        self.checks_of = ""  # differs from one way of checking to another
        self.weights = named_weights(pairs)
        self.averaged = {name: weight.detach().clone() for name, weight in self.weights.items()} if settings.ema else {}
        self.optimizer = new_optimizer(settings, list(self.weights.values()))
        self._denoiser_for, self._scale, self._v_prediction = denoiser_for, scale, v_prediction
        self._processes = processes or Processes.present()
        self._plan = BatchPlan(
            [tuple(latent.shape) for latent in data.latents], settings.batch_size * self._processes.size, settings.seed
        )

    def run(self, on_step: Callable[[Trainer], None] | None = None, until: int | None = None) -> None:
        """Trains until so many steps are done, settings.steps by default.

        on_step: called after each step; may raise to stop
        raises:  ValueError naming the step whose loss or gradient is not finite; the step is not taken
        """
        while self.step < (self.settings.steps if until is None else until):
            self._one_step()
            if on_step is not None:
                on_step(self)

    def _one_step(self) -> None:
        settings, mean_r = self.settings, self.mean_r
        batches: list[Losses] = []
        walks: list[float] = []
        self.optimizer.zero_grad(set_to_none=True)
        for part in range(settings.accumulation):
            number = self.step * settings.accumulation + part
            losses, mean_r = self._call(number, mean_r)
            batches.append(losses)
            walks.append(self._walk(number) if settings.pace_lambda else 0.0)
        weights = [weight for weight in self.weights.values() if weight.grad is not None]
        self._processes.average(weight.grad for weight in weights if weight.grad is not None)
        length = torch.nn.utils.clip_grad_norm_(weights, settings.clip)
        row = self._row(batches, walks, mean_r, float(length))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(settings, self.step)
        self.optimizer.step()
        self.step, self.mean_r = self.step + 1, mean_r
        self.log.append(row)
        self._average_weights()

    def _call(self, number: int, mean_r: Tensor | None) -> tuple[Losses, Tensor | None]:
        """Accumulates the gradients of one batch of this process; returns its losses and the running mean of r."""
        settings = self.settings
        images, draws = self._rows(number)

        def mean_of(r: Tensor) -> Tensor:
            nonlocal mean_r
            mean_r = updated_mean(mean_r, self._processes.mean(r.mean()[None]).cpu().double())
            return mean_r.to(r)

        denoise = self._denoiser(images, [row.empty for row in draws], may_round=not settings.svr_lambda)
        losses = accumulate(
            settings.estimator,
            denoise,
            self._sample(images, draws),
            self._scale,
            weight=settings.svr_lambda,
            mean_of=mean_of,
            part=1 / settings.accumulation,
            step=settings.difference_step,
        )
        return losses, mean_r

    def _sample(self, images: Sequence[int], draws: Sequence[RowDraw]) -> TrainingSample:
        x0 = torch.stack([self.data.latents[image] for image in images])
        sigma = self.data.sigmas.double()[[row.level for row in draws]]
        eps, probe = (torch.stack(rows).to(x0) for rows in ([row.eps for row in draws], [row.probe for row in draws]))
        return TrainingSample(x0, eps, sigma, probe, base_share(sigma, self._scale, self._v_prediction))

    def _walk(self, number: int) -> float:
        """Accumulates the gradients of a drawn walk of one of the prompts; returns its unevenness."""
        settings, number = self.settings, number * self._processes.size + self._processes.rank
        image = int(torch.randint(len(self.data.latents), (), generator=generator_for(settings.seed, "walk", number)))
        like = self.data.latents[image]
        walk = draw_walk(self.data.sigmas, tuple(like.shape), self._scale, seed=settings.seed, number=number)
        empty = [False] * WALK_FRAMES + ([True] * WALK_FRAMES if settings.pace_cfg != 1 else [])
        denoise = self._denoiser([image] * len(empty), empty, may_round=True)
        return accumulate_drawn_walk(
            denoise,
            replace(walk, x=walk.x.to(like)),
            cfg=settings.pace_cfg,
            weight=settings.pace_lambda / settings.accumulation,
        )

    def _denoiser(self, images: Sequence[int], empty: Sequence[bool], may_round: bool) -> DenoiseRows:
        lower = self.settings.precision != COMPUTE_PRECISIONS[0]
        return self._denoiser_for(images, empty, may_round=may_round and lower)

    def _rows(self, number: int) -> tuple[list[int], list[RowDraw]]:
        """Returns the images of this process's part of a batch, and the randomness of each row."""
        settings, first = self.settings, self._processes.rank * self.settings.batch_size
        images = self._plan.rows(number)[first : first + settings.batch_size]
        rows = range(number * self._plan.batch + first, number * self._plan.batch + first + settings.batch_size)
        levels, share = len(self.data.sigmas), settings.empty_share
        return images, [
            draw_row(settings.seed, row, self.data.latents[image].shape, levels=levels, empty_share=share)
            for row, image in zip(rows, images, strict=True)
        ]

    def _row(
        self, batches: Sequence[Losses], walks: Sequence[float], mean_r: Tensor | None, gradient: float
    ) -> tuple[float, ...]:
        """Makes the log's row of a step.

        raises: ValueError if something in it is not finite
        """
        r = torch.cat([losses.r for losses in batches])
        base = torch.cat([losses.base for losses in batches]).mean()
        penalty = torch.stack([losses.penalty for losses in batches]).mean()
        spread = r.std(correction=0) / r.mean()
        slip = torch.cat([losses.slip for losses in batches]).mean()
        uneven = r.new_tensor(walks).mean()
        *means, uneven_mean = self._processes.mean(
            torch.stack([base, penalty, r.mean(), spread, slip, uneven])
        ).tolist()
        if not (
            math.isfinite(means[0])
            and math.isfinite(gradient)
            and (not self.settings.svr_lambda or math.isfinite(means[1]))
        ):
            raise ValueError(
                f"training: step {self.step + 1} gave a loss of {means[0]:.4g}, a penalty of "
                f"{means[1]:.4g} and a gradient of length {gradient:.4g}, which is not finite; lower the "
                f"learning rate (now {self.settings.learning_rate:g}) or lambda (now "
                f"{self.settings.svr_lambda:g}), or take a wider precision, such as fp32"
            )
        mean = float("nan") if mean_r is None else float(mean_r)
        return (*means, mean, gradient, learning_rate(self.settings, self.step), uneven_mean)

    @torch.no_grad()
    def _average_weights(self) -> None:
        """Moves the averaged weights towards the present ones, by larger steps at the start of a training."""
        decay = min(self.settings.ema, self.step / (self.step + 10))
        for name, averaged in self.averaged.items():
            averaged.lerp_(self.weights[name].detach(), 1 - decay)


def new_optimizer(settings: TrainingSettings, weights: list[Tensor]) -> torch.optim.Optimizer:
    """Makes the optimiser of a training.

    raises: ValueError for one that is unknown
    """
    kind = OPTIMIZERS.get(settings.optimizer)
    if kind is None:
        raise ValueError(f"optimizer must be {' or '.join(OPTIMIZERS)}, got {settings.optimizer!r}")
    return kind(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay)
