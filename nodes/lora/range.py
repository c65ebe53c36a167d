"""A LoRA over a part of the sampling range: added to the layers' outputs for single calls of the model.

The host's own way of adding a LoRA to a layer's output replaces the layer's forward when the model is loaded
and restores it when the model is unloaded. Two of them on one layer are removed in the order in which they
were added, which leaves one in place, and the adapters they move and scale are shared between clones. Here a
layer's forward is replaced only during a call of the model in which the LoRA is on. So an interrupt or an
error leaves nothing behind, and what else replaces the forward at that moment (the host's bypass LoRA) is
still called.
A forward hook would be simpler, but torch.compile ignores hooks that come and go.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor, nn

from ...smooth_lora.lora.pairs import LoraPair, Replacement
from ...smooth_lora.walks.walk import walked_numbers
from ...smooth_lora.wording import name_some
from ..host.protocols import ModelSampling
from ..model.call import KEY_MARK, options_of, walk_of
from ..model.layers import Addition, added, is_convolution, is_linear
from .fit import FittedLora, Target

log = logging.getLogger(__name__)
WHOLE_RANGE_ADVICE = "set start_percent to 0 and end_percent to 1"
WHOLE_RANGE = (0.0, 1.0)


@dataclass(frozen=True)
class LoraStrength:
    """Strength of a LoRA, and the part of the sampling in which it acts.

    factor:     multiplies the pairs
    start, end: shares of the sampling range between which it acts, both included; 0 is the noisy end
    walked:     what the factor is multiplied by at the keyframes of a walk; none: by 1 in every frame
    """

    factor: float
    start: float = WHOLE_RANGE[0]
    end: float = WHOLE_RANGE[1]
    walked: tuple[float, ...] = ()

    @property
    def merges(self) -> bool:
        """True if the weights can be patched with it once for a whole run."""
        return self.factor != 0 and (self.start, self.end) == WHOLE_RANGE and not self.walked


@dataclass(frozen=True)
class Layer:
    """A layer of the network, by its path, and the pair that is added to its output.

    scale: strength times alpha / rank; rows: (first, length) of the output's features, None for all of them
    """

    path: str
    pair: LoraPair
    scale: float
    rows: tuple[int, int] | None


def add_in_range(model: ModelPatcher, fitted: FittedLora, strength: LoraStrength, *, sha256: str) -> None:
    """Adds the LoRA to the layers' outputs of this clone, at the steps in the strength's range.

    model:  a clone of the caller's own; sha256: of the LoRA's file
    raises: ValueError if the LoRA is more than plain pairs, or a weight's layer cannot be added to
    """
    _require_pairs(fitted)
    layers = tuple(_layer(model.model, target, strength.factor, fitted.lora.name) for target in fitted.targets)
    ranged = RangedLora(fitted.lora.name, layers, strength)
    key = f"{KEY_MARK} {sha256[:16]} strength {strength.factor!r} range {strength.start!r} to {strength.end!r}"
    if strength.walked:
        key += f" walked {list(strength.walked)!r}"
    while key in model.wrappers.get(WrappersMP.APPLY_MODEL, {}):
        key += ", again"
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, key, ranged.apply_model)
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, key, ranged.outer_sample)


def _require_pairs(fitted: FittedLora) -> None:
    whole = [target.part.key for target in fitted.targets if isinstance(target.part, Replacement)]
    dora = [target.part.name for target in fitted.targets if getattr(target.part, "dora_scale", None) is not None]
    if whole or dora:
        raise ValueError(
            f"'{fitted.lora.name}' holds more than plain LoRA pairs ({name_some([*whole, *dora])}), which "
            f"cannot be limited to a part of the sampling range; {WHOLE_RANGE_ADVICE}"
        )


def _layer(network: nn.Module, target: Target, factor: float, name: str) -> Layer:
    """Layer that a pair is added to.

    name:   of the LoRA, for the error
    raises: ValueError for a weight of another kind of layer, or a slice of its other axes
    """
    path, attribute = target.weight.rsplit(".", 1)
    module = comfy.utils.get_attr(network, path)
    axis, first, length = (0, 0, 0) if isinstance(target.patch_key, str) else target.patch_key[1]
    whole = isinstance(target.patch_key, str)
    by_rows = whole or (axis == 0 and len(target.patch_key) == 2)
    plain = attribute == "weight" and (is_linear(module) or is_convolution(module))
    if not (plain and by_rows and isinstance(target.part, LoraPair)):
        raise ValueError(
            f"'{name}' changes {target.weight}, which is no plain linear or convolution layer "
            f"and cannot be limited to a part of the sampling range; {WHOLE_RANGE_ADVICE}"
        )
    rows = None if whole else (first, length)
    return Layer(path=path, pair=target.part, scale=factor * target.part.scale, rows=rows)


class RangedLora:
    """Wrappers around the host's model call and sampling run.

    It never changes, but for copies of its matrices on the sampling device, which last for one run; so the
    clones of a model can share it.

    name: of the LoRA, for errors
    """

    def __init__(self, name: str, layers: tuple[Layer, ...], strength: LoraStrength):
        self.name, self.layers, self.strength = name, layers, strength
        self._copies: dict[tuple[torch.device, torch.dtype], list[Addition]] = {}

    def apply_model(self, executor: WrapperExecutor, x: Tensor, sigma: Tensor, *args, **kwargs) -> Tensor:
        """Wraps BaseModel.apply_model: with the LoRA where sigma lies in the range, unchanged elsewhere."""
        network = executor.class_obj
        inside = int(self._inside(network.model_sampling, sigma).sum())
        if inside == 0:
            return executor(x, sigma, *args, **kwargs)
        if inside < sigma.shape[0]:
            raise ValueError(
                f"'{self.name}' is limited to a part of the sampling range and the model was "
                f"asked for samples inside and outside of it in one batch; {WHOLE_RANGE_ADVICE}"
            )
        additions = self._on(x.device, network.get_dtype_inference())
        if self.strength.walked:
            shares = self._shares(options_of(args, kwargs), len(x)).to(x.device, torch.float32)
            if not shares.any():
                return executor(x, sigma, *args, **kwargs)
            additions = [replace(addition, shares=shares) for addition in additions]
        with added(network, additions):
            return executor(x, sigma, *args, **kwargs)

    def _shares(self, options: Mapping, rows: int) -> Tensor:
        """Returns [rows] what the strength is multiplied by in each row of a batch."""
        walk = walk_of(options, rows)
        return walked_numbers(walk, self.strength.walked).repeat(rows // len(walk))

    def outer_sample(
        self, executor: WrapperExecutor, noise: Tensor, latent: Tensor, sampler: object, sigmas: Tensor, *args, **kwargs
    ) -> Tensor:
        """Wraps a whole sampling run: warns when no step lies in the range, and frees the copies afterwards."""
        sampling = executor.class_obj.model_patcher.get_model_object("model_sampling")
        if not bool(self._inside(sampling, sigmas[:-1]).any()):
            log.warning(
                "'%s' changed nothing in this run: no step lies between start_percent %g and end_percent %g",
                self.name,
                self.strength.start,
                self.strength.end,
            )
        try:
            return executor(noise, latent, sampler, sigmas, *args, **kwargs)
        finally:
            self._copies.clear()

    def _inside(self, sampling: ModelSampling, sigma: Tensor) -> Tensor:
        """Returns [B] bool, by the host's rule for the timestep ranges of conditioning: both ends belong to it."""
        high, low = (sampling.percent_to_sigma(share) for share in (self.strength.start, self.strength.end))
        return (sigma <= high) & (sigma >= low)

    def _on(self, device: torch.device, dtype: torch.dtype) -> list[Addition]:
        """Returns what is added to each layer, on the network's device and in its type."""
        if (device, dtype) not in self._copies:
            # Always a copy: autograd refuses tensors that were made in inference mode, as a node's are.
            self._copies[device, dtype] = [
                Addition(
                    layer.path,
                    tuple(
                        None if matrix is None else matrix.to(device=device, dtype=dtype, copy=True)
                        for matrix in (layer.pair.down, layer.pair.up, layer.pair.mid)
                    ),
                    layer.scale,
                    layer.rows,
                )
                for layer in self.layers
            ]
        return self._copies[device, dtype]
