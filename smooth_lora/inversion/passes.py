"""The two passes of any method: from images to noise, and back along a finished inversion."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..sampling.denoise import Denoise, OnStep
from ..sampling.scale import Scale
from .contract import InversionMethod, InversionTask, Inverted, MethodSettings, ReplayTask
from .record import Inversion


def run_inversion(
    method: InversionMethod,
    denoise: Denoise,
    x0: Tensor,
    sigmas: Sequence[float],
    *,
    scale: Scale,
    settings: MethodSettings,
    on_step: OnStep | None = None,
) -> Inverted:
    """Inverts images by a method.

    denoise: guided by `method.cfg_of_inversion` of the replay's cfg
    x0:      [B, ...] float64 clean latents in model units, at sigmas[N]
    sigmas:  [N + 1], falling
    raises:  ValueError for too few steps, or another number of images than the method takes
    """
    method.require("inversion", steps=len(sigmas) - 1, images=x0.shape[0])
    return method.invert(denoise, InversionTask(x0, sigmas, scale, settings, on_step))


def run_replay(
    inversion: Inversion,
    denoise: Denoise,
    x: Tensor,
    rows: Tensor,
    *,
    skip: int = 0,
    edited: Callable[[], Tensor] | None = None,
    on_step: OnStep | None = None,
    who: str = "replay",
) -> Tensor:
    """Replays an inversion by its method.

    denoise: guided as the method needs it, see `Needs`
    x:       [R, ...] float64, at sigmas[skip]
    rows:    [R] int64, the image of each row; -1 for a row that is none, see `Inversion.rows_of`
    skip:    steps left out at the noisy end
    edited:  see `ReplayTask`
    who:     the caller, for errors
    returns: states [N + 1 - skip, R, ...] on the device of x
    raises:  ValueError for a row that is none where the method needs the inversion's path
    """
    method, residuals = inversion.row, inversion.residuals
    if method.needs.states:
        _require_own_noise(method, rows, who)
    task = ReplayTask(
        x,
        [float(sigma) for sigma in inversion.sigmas[skip:]],
        inversion.scale,
        method.settings_of(inversion.settings, who),
        path=inversion.states[skip:, rows].to(x.device) if method.needs.states else None,
        residuals=residuals[skip:, rows].to(x.device) if residuals is not None and method.needs.residuals else None,
        sources=first_rows(rows).to(x.device),
        skipped=skip,
        edited=edited,
        on_step=on_step,
    )
    return method.replay(denoise, task)


def _require_own_noise(method: InversionMethod, rows: Tensor, who: str) -> None:
    if bool((rows < 0).any()):
        raise ValueError(
            f"{who}: the noise is not that of the inversion, but {method.name} can only replay from its own; "
            "wire the noise of the same inversion, or invert with ddim or null_text to walk between noises"
        )


def first_rows(rows: Tensor) -> Tensor:
    """Marks the first row of each image: [R] int64 -> [R] bool."""
    numbers = rows.tolist()
    return torch.tensor([row not in numbers[:place] for place, row in enumerate(numbers)], dtype=torch.bool)
