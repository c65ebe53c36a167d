"""Steps of DDIM in sigma: towards data, towards noise, and with noise added.

Paper (VP)                               here (x as ComfyUI's samplers hold it, see scale.py)
x_t / sqrt(alpha_bar_t)                  x
sqrt((1 - alpha_bar_t) / alpha_bar_t)    sigma
eps_theta(x_t, t)                        eps, with denoised = x - sigma * eps
t large .. 0                             sigmas[0] .. sigmas[N], falling; states[k] lies at sigmas[k]

DDIM's deterministic step is Euler's in sigma for eps-, v- and flow prediction alike.
"""

from __future__ import annotations

from torch import Tensor

from .scale import Scale


def ddim_move(x: Tensor, eps: Tensor, sigma_from: float, sigma_to: float) -> Tensor:
    """Carries x along eps from one sigma to another, towards data or towards noise.

    source:  DDIM, arXiv 2010.02502 eq. 13, divided by sqrt(alpha_bar); its own inverse while eps is held fixed
    """
    return x + (sigma_to - sigma_from) * eps


def stochastic_split(sigma: float, to: float, eta: float, scale: Scale) -> tuple[float, float]:
    """Divides the next sigma into old noise and fresh noise, as DDIM's noisy step does.

    sigma, to: > to >= 0; eta: 0 keeps all of the old noise, 1 is DDPM
    returns: (down, up), down^2 + up^2 = to^2: the next x is signal(to) * denoised + down * old noise + up * fresh noise
    source:  DDIM, arXiv 2010.02502 eq. 16 in sigma: up = eta * to * sqrt(1 - to^2 / sigma^2) in VE scale. For flow
             models, which have no such equation, the same with sigma / (1 - sigma) for sigma: our extension
    """
    ratio = (to * scale.signal(sigma)) / (sigma * scale.signal(to)) if scale.signal(to) else 1.0
    up = eta * to * max(0.0, 1.0 - ratio**2) ** 0.5
    return max(0.0, to**2 - up**2) ** 0.5, up
