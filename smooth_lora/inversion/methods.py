"""The table of the methods of inversion: one row each, and the only place where a method is known by its name."""

from __future__ import annotations

from .algorithms.anchored import PULL, PULL_FROM, QUANTILE, direct_replay, proximal_guidance, proximal_replay
from .algorithms.encoders import ETA, PATH_SEED, dpm_encoder_inversion, edit_friendly_inversion, residual_replay
from .algorithms.exact import exact_inversion, exact_replay
from .algorithms.fixed_point import ITERATIONS, fixed_point_inversion
from .algorithms.null_text import INNER_STEPS, LOW_MEMORY, TOLERANCE
from .algorithms.plain import ddim_inversion, ddim_replay
from .contract import AnySetting, InversionMethod, Needs

_ROWS = (
    InversionMethod(
        "exact",
        exact_inversion,
        exact_replay,
        source="BELM, arXiv 2410.07273",
        needs=Needs(states=True),
        least_steps=2,
        limit_reason="joins three neighbouring sigmas",
    ),
    InversionMethod("ddim", ddim_inversion, ddim_replay, source="arXiv 2105.05233 appendix F"),
    InversionMethod(
        "fixed_point",
        fixed_point_inversion,
        ddim_replay,
        source="AIDI, arXiv 2309.04907; FPI, arXiv 2312.12540",
        settings=(ITERATIONS,),
    ),
    InversionMethod(
        "null_text",
        ddim_inversion,
        ddim_replay,
        source="Null-text Inversion, arXiv 2211.09794",
        settings=(INNER_STEPS, TOLERANCE, LOW_MEMORY),
        needs=Needs(nulls="per image"),
        cfg_while_inverting=1.0,
    ),
    InversionMethod(
        "null_text_dual",
        ddim_inversion,
        ddim_replay,
        source="Null-text Inversion, arXiv 2211.09794; two images: Smooth Diffusion, arXiv 2312.04410",
        settings=(INNER_STEPS, TOLERANCE, LOW_MEMORY),
        needs=Needs(nulls="shared", images=2),
        cfg_while_inverting=1.0,
        limit_reason="fits one prompt to two images",
    ),
    InversionMethod(
        "negative_prompt",
        ddim_inversion,
        ddim_replay,
        source="Negative-prompt Inversion, arXiv 2305.16807",
        needs=Needs(source_as_negative=True),
        cfg_while_inverting=1.0,
    ),
    InversionMethod(
        "proximal",
        ddim_inversion,
        proximal_replay,
        source="ProxNPI, arXiv 2306.05414",
        settings=(QUANTILE, PULL, PULL_FROM),
        needs=Needs(states=True, source_as_negative=True, guidance=proximal_guidance),
        cfg_while_inverting=1.0,
    ),
    InversionMethod(
        "edit_friendly",
        edit_friendly_inversion,
        residual_replay,
        source="Huberman-Spiegelglas et al., arXiv 2304.06140",
        settings=(ETA, PATH_SEED),
        needs=Needs(states=True, residuals=True),
    ),
    InversionMethod(
        "dpm_encoder",
        dpm_encoder_inversion,
        residual_replay,
        source="CycleDiffusion, arXiv 2210.05559",
        settings=(ETA, PATH_SEED),
        needs=Needs(states=True, residuals=True),
    ),
    InversionMethod(
        "direct",
        ddim_inversion,
        direct_replay,
        source="Direct Inversion, arXiv 2310.01506",
        needs=Needs(states=True, rows_per_image=2),
        cfg_while_inverting=1.0,
    ),
)
# By name, in the order of the node's list.
METHODS = {row.name: row for row in _ROWS}
DEFAULT_METHOD = "exact"
# Saved workflows hold a node's values by their place, so this order never changes; new settings follow it.
_INPUT_ORDER: tuple[AnySetting, ...] = (ITERATIONS, INNER_STEPS, TOLERANCE, LOW_MEMORY, ETA, PATH_SEED, QUANTILE, PULL)


def method_of(name: str) -> InversionMethod:
    """Returns the row of a method.

    raises: ValueError for a name that is not in the table
    """
    if name not in METHODS:
        raise ValueError(f"inversion: there is no method {name!r}; choose one of {', '.join(METHODS)}")
    return METHODS[name]


def asked_settings() -> list[AnySetting]:
    """Returns the settings of all methods that a node asks for, each once, in the order of its inputs."""
    settings = [setting for row in METHODS.values() for setting in row.settings if setting.asked]
    return list(dict.fromkeys([*_INPUT_ORDER, *settings]))
