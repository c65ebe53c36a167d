"""The training of a Smooth-LoRA: one loop, whatever network, host or number of processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..sampling.denoise import DenoiseRows
from ..sampling.scale import Scale
from .drawn_walks import FRAMES, accumulate_pace, plan_stretch
from .draws import BatchPlan, Draw, draw, generator_for
from .estimators import Losses, Sample, accumulate, base_share
from .processes import Processes
from .trained_pairs import TrainedPair, named_weights
from .variation import updated_mean

# What the log keeps of each step; pace is 0 where no walk is drawn.
COLUMNS = ("base", "penalty", "r", "r_spread", "slip", "mean_r", "gradient", "lr", "pace")
CHECK_COLUMNS = ("step", "istd", "cv", "step_length", "base")  # of a check on held-out texts and pictures
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "bfloat16")  # of the network's products, see Settings
OPTIMIZERS = {"adamw": torch.optim.AdamW, "adafactor": torch.optim.Adafactor}


@dataclass(frozen=True)
class Settings:
    """What decides a training's result beside the data and the network.

    svr_lambda:   weight of the regulariser; 0 trains by the base loss alone
    steps:        optimiser steps
    batch_size:   pictures per call and process
    accumulation: calls per optimiser step
    lr_schedule:  of learning_rate, "constant", or "cosine" down to 2 %; warmup_steps: of linear rise before
    weight_decay, clip: of the optimiser, and the largest length of the gradient
    ema:          decay of the averaged weights; 0 keeps none
    empty_share:  probability that a picture's text is left empty
    estimator, difference_step: see `variation_gradient.accumulate`
    optimizer:    "adamw", or "adafactor", which keeps sums by rows and columns in place of whole matrices
    precision:    one of PRECISIONS. With bfloat16 the calls whose results are not held against each other are rounded:
                  those of walks, and all others if svr_lambda is 0. The regulariser's own gradient does not survive it
    pace_lambda:  weight of the pace of drawn walks, see `pace`; 0 draws none
    pace_cfg:     guidance scale that they are drawn with
    """

    svr_lambda: float = 1.0
    steps: int = 1000
    batch_size: int = 1
    accumulation: int = 1
    learning_rate: float = 1e-4
    lr_schedule: str = "constant"
    warmup_steps: int = 0
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.0
    empty_share: float = 0.1
    estimator: str = "first_order"
    difference_step: float | None = None
    optimizer: str = "adamw"
    seed: int = 0
    pace_lambda: float = 0.0
    pace_cfg: float = 7.5
    precision: str = "float32"


def learning_rate(settings: Settings, step: int) -> float:
    """Of one step, counted from 0."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    if settings.lr_schedule == "constant":
        return settings.learning_rate
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


@dataclass(frozen=True)
class Data:
    """Training pictures.

    latents: one [C, ...] float32 each, in model units
    sigmas:  [T] the table of the model's noise levels, on the CPU; each is drawn equally often
    """

    latents: Sequence[Tensor]
    sigmas: Tensor


# (places of the pictures in a batch, whether each text is left empty) -> the denoiser guided by these texts; a third
# argument, True, allows it to round as Settings.precision says, and comes only if that is not float32
DenoiserFor = Callable[..., DenoiseRows]


class Trainer:
    """Trains pairs in place.

    pairs:        what is trained; the denoiser depends on them
    denoiser_for: see DenoiserFor; may raise to stop, and then nothing of the step under way is kept
    scale:        of the model's latents; v_prediction: whether its loss is that of v
    """

    def __init__(
        self,
        settings: Settings,
        pairs: Mapping[str, TrainedPair],
        data: Data,
        denoiser_for: DenoiserFor,
        scale: Scale,
        *,
        v_prediction: bool = False,
        processes: Processes | None = None,
    ):
        self.settings, self.pairs, self.data = settings, pairs, data
        self.step = 0
        self.mean_r: Tensor | None = None
        self.log: list[tuple[float, ...]] = []  # one row of COLUMNS per step
        self.checks: list[tuple[float, ...]] = []  # one row of CHECK_COLUMNS each, filled in by whoever checks
        self.checks_of = ""  # what tells one way of checking from another
        self.weights = named_weights(pairs)
        self.averaged = {name: weight.detach().clone() for name, weight in self.weights.items()} if settings.ema else {}
        self.optimizer = new_optimizer(settings, list(self.weights.values()))
        self._denoiser_for, self._scale, self._v_prediction = denoiser_for, scale, v_prediction
        self._processes = processes or Processes.present()
        self._plan = BatchPlan(
            [tuple(latent.shape) for latent in data.latents], settings.batch_size * self._processes.size, settings.seed
        )

    def run(self, on_step: Callable[[Trainer], None] | None = None, until: int | None = None) -> None:
        """Train until so many steps are done, settings.steps by default; on_step is called after each, and may raise
        to stop.

        raises: ValueError naming the step whose loss or gradient is not finite; the step is not taken
        """
        while self.step < (self.settings.steps if until is None else until):
            self._one_step()
            if on_step is not None:
                on_step(self)

    def _one_step(self) -> None:
        settings, mean_r, found, paces = self.settings, self.mean_r, [], []
        self.optimizer.zero_grad(set_to_none=True)
        for part in range(settings.accumulation):
            number = self.step * settings.accumulation + part
            losses, mean_r = self._call(number, mean_r)
            found.append(losses)
            paces.append(self._walk(number) if settings.pace_lambda else 0.0)
        weights = [weight for weight in self.weights.values() if weight.grad is not None]
        self._processes.average(weight.grad for weight in weights if weight.grad is not None)
        length = torch.nn.utils.clip_grad_norm_(weights, settings.clip)
        row = self._row(found, paces, mean_r, float(length))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(settings, self.step)
        self.optimizer.step()
        self.step, self.mean_r = self.step + 1, mean_r
        self.log.append(row)
        self._average_weights()

    def _call(self, number: int, mean_r: Tensor | None) -> tuple[Losses, Tensor | None]:
        """Gradients of one batch of this process, and the running mean of r with it."""
        settings = self.settings
        places, draws = self._rows(number)
        x0 = torch.stack([self.data.latents[place] for place in places])
        sigma = self.data.sigmas.double()[[drawn.level for drawn in draws]]
        eps, probe = (torch.stack([getattr(drawn, name) for drawn in draws]).to(x0) for name in ("eps", "probe"))
        sample = Sample(x0, eps, sigma, probe, base_share(sigma, self._scale, self._v_prediction))

        def mean_of(r: Tensor) -> Tensor:
            nonlocal mean_r
            mean_r = updated_mean(mean_r, self._processes.mean(r.mean()[None]).cpu().double())
            return mean_r.to(r)

        denoise = self._denoiser(places, [drawn.empty for drawn in draws], rounded=not settings.svr_lambda)
        losses = accumulate(
            settings.estimator,
            denoise,
            sample,
            self._scale,
            weight=settings.svr_lambda,
            mean_of=mean_of,
            part=1 / settings.accumulation,
            step=settings.difference_step,
        )
        return losses, mean_r

    def _walk(self, number: int) -> float:
        """Gradients of the pace of a walk of one of the texts."""
        settings, number = self.settings, number * self._processes.size + self._processes.rank
        text = int(torch.randint(len(self.data.latents), (), generator=generator_for(settings.seed, "walk", number)))
        like = self.data.latents[text]
        plan = plan_stretch(self.data.sigmas, tuple(like.shape), self._scale, settings.seed, number)
        empty = [False] * FRAMES + ([True] * FRAMES if settings.pace_cfg != 1 else [])
        denoise = self._denoiser([text] * len(empty), empty, rounded=True)
        return accumulate_pace(
            denoise,
            replace(plan, x=plan.x.to(like)),
            cfg=settings.pace_cfg,
            weight=settings.pace_lambda / settings.accumulation,
        )

    def _denoiser(self, places: Sequence[int], empty: Sequence[bool], rounded: bool) -> DenoiseRows:
        """With bfloat16 rounded where it may be."""
        may_round = (True,) if rounded and self.settings.precision != PRECISIONS[0] else ()
        return self._denoiser_for(places, empty, *may_round)

    def _rows(self, number: int) -> tuple[list[int], list[Draw]]:
        """The places of this process's part of a batch, and the randomness of each."""
        settings, first = self.settings, self._processes.rank * self.settings.batch_size
        places = self._plan.rows(number)[first : first + settings.batch_size]
        rows = range(number * self._plan.batch + first, number * self._plan.batch + first + settings.batch_size)
        return places, [
            draw(settings.seed, row, self.data.latents[place].shape, len(self.data.sigmas), settings.empty_share)
            for row, place in zip(rows, places, strict=True)
        ]

    def _row(
        self, found: Sequence[Losses], paces: Sequence[float], mean_r: Tensor | None, gradient: float
    ) -> tuple[float, ...]:
        """The log's row of a step.

        raises: ValueError if something in it is not finite
        """
        r = torch.cat([losses.r for losses in found])
        base = torch.cat([losses.base for losses in found]).mean()
        penalty = torch.stack([losses.penalty for losses in found]).mean()
        spread = r.std(correction=0) / r.mean()
        slip = torch.cat([losses.slip for losses in found]).mean()
        pace = r.new_tensor(paces).mean()
        *means, pace = self._processes.mean(torch.stack([base, penalty, r.mean(), spread, slip, pace])).tolist()
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
        return (*means, mean, gradient, learning_rate(self.settings, self.step), pace)

    @torch.no_grad()
    def _average_weights(self) -> None:
        """Quick to forget the first steps."""
        decay = min(self.settings.ema, self.step / (self.step + 10))
        for name, averaged in self.averaged.items():
            averaged.lerp_(self.weights[name].detach(), 1 - decay)


def new_optimizer(settings: Settings, weights: list[Tensor]) -> torch.optim.Optimizer:
    """The optimiser of a training.

    raises: ValueError for one that is unknown
    """
    kind = OPTIMIZERS.get(settings.optimizer)
    if kind is None:
        raise ValueError(f"optimizer must be {' or '.join(OPTIMIZERS)}, got {settings.optimizer!r}")
    return kind(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay)
