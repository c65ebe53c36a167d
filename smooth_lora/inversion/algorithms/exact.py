"""O-BELM: sampling that runs backwards exactly, because each step joins three neighbouring latents by one formula.

With h_k = sigmas[k] - sigmas[k + 1] and r_k = h_k / h_(k-1):

    x[k+1] = r_k^2 x[k-1] + (1 - r_k^2) x[k] - h_k (1 + r_k) eps(x[k], sigmas[k])

Solved for x[k-1] it is the inversion. Both directions call the model at the same x[k], so that nothing is approximated
but the arithmetic: a state in float64 gives the picture back to eight digits even if the model computes in float32.

source: Wang et al., BELM (arXiv 2410.07273), the coefficients of O-BELM written in sigma for VE latents; flow models
        need no change, since only dx/dsigma = eps enters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...sampling.ddim import ddim_move
from ...sampling.denoise import Denoise, OnStep, eps_of, notify
from ...sampling.scale import Scale
from ..contract import InversionTask, Inverted, ReplayTask, given
from .plain import first_guess


def invert_exact(
    denoise: Denoise, x0: Tensor, sigmas: Sequence[float], scale: Scale, *, on_step: OnStep | None = None
) -> Tensor:
    """Inversion by O-BELM: N model calls.

    x0:      [B, ...] clean latents in model units, at sigmas[N]; float64
    sigmas:  [N + 1], falling, N >= 2 (with N = 1 it is one DDIM step)
    returns: states [N + 1, B, ...], states[N] is x0. The replay needs states[0] and states[1], so both must be kept
    source:  see the module; the first step, which has no third latent yet, is one DDIM step whose result is stored,
             never recomputed
    """
    last = len(sigmas) - 1
    eps = first_guess(denoise, x0, sigmas[last], sigmas[last - 1], scale=scale)
    first = ddim_move(x0, eps, sigmas[last], sigmas[last - 1])
    states = [x0, first]
    notify(on_step, 0, first, x0)
    for step, k in enumerate(range(last - 1, 0, -1), start=1):
        below, x = states[-2:]
        denoised = denoise(x, sigmas[k])
        r, h = _ratio(sigmas, k)
        states.append((below - (1 - r**2) * x + h * (1 + r) * eps_of(x, denoised, sigmas[k])) / r**2)
        notify(on_step, step, states[-1], denoised)
    return torch.stack(states[::-1])


def replay_exact(
    denoise: Denoise, above: Tensor, x: Tensor, sigmas: Sequence[float], *, on_step: OnStep | None = None
) -> Tensor:
    """Sampling by O-BELM: N - 1 model calls.

    above, x: [B, ...] states[0] and states[1] of the inversion, at sigmas[0] and sigmas[1]
    returns: states [N + 1, B, ...]
    """
    states = [above, x]
    for k in range(1, len(sigmas) - 1):
        above, x = states[-2:]
        denoised = denoise(x, sigmas[k])
        r, h = _ratio(sigmas, k)
        states.append(r**2 * above + (1 - r**2) * x - h * (1 + r) * eps_of(x, denoised, sigmas[k]))
        notify(on_step, k, states[-1], denoised)
    return torch.stack(states)


def amplification(sigmas: Sequence[float]) -> float:
    """Growth of a rounding error of the first step until the inversion arrives: (h_0 / h_(N-1))^2.

    source:  the product of the 1 / r_k^2 above, which telescopes
    """
    return ((sigmas[0] - sigmas[1]) / (sigmas[-2] - sigmas[-1])) ** 2


def exact_inversion(denoise: Denoise, task: InversionTask) -> Inverted:
    """Inverts by `invert_exact`."""
    return Inverted(invert_exact(denoise, task.x0, task.sigmas, task.scale, on_step=task.on_step))


def exact_replay(denoise: Denoise, task: ReplayTask) -> Tensor:
    """Replays by `replay_exact`."""
    above, x = given(task.path, "the inversion's path")[:2]
    return replay_exact(denoise, above, x, task.sigmas, on_step=task.on_step)


def _ratio(sigmas: Sequence[float], k: int) -> tuple[float, float]:
    """Returns (r_k, h_k)."""
    h = sigmas[k] - sigmas[k + 1]
    return h / (sigmas[k - 1] - sigmas[k]), h
