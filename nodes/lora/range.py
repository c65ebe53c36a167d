"""A LoRA over a part of the sampling range: added to the layers' outputs for single calls of the model.

The host's own way of adding a LoRA beside a weight replaces a layer's forward when the model is loaded and
puts it back when it is unloaded. Two of them on one layer are taken out in the order in which they came,
which leaves one in, and the adapters they move and scale are shared between clones. Here a layer's forward is
replaced only while a call of the model runs in which the LoRA is on. So nothing is left behind by an
interrupt or an error, and what else stands in the forward at that moment (the host's bypass LoRA) stays
beneath it.
A forward hook would be simpler, but torch.compile ignores hooks that come and go.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor, nn

from ...smooth_lora.files.tensor_file import TensorFile
from ...smooth_lora.lora.pairs import LoraPair, Replacement
from ...smooth_lora.walks.walk import walked_numbers
from ...smooth_lora.wording import name_some
from ..model.call import KEY_MARK, options_of, walk_of
from ..model.layers import Addition, added, is_convolution, is_linear
from .fit import Target

log = logging.getLogger(__name__)
ADVICE = "set start_percent to 0 and end_percent to 1"


@dataclass(frozen=True)
class Layer:
    """A layer of the network, by its path, and the pair that is added to its output.

    scale: strength times alpha / rank; rows: (first, length) of the output's features, None for all of them
    """

    path: str
    pair: LoraPair
    scale: float
    rows: tuple[int, int] | None


def add_in_range(
    model: ModelPatcher,
    targets: Sequence[Target],
    file: TensorFile,
    *,
    strength: float,
    start: float,
    end: float,
    walked: Sequence[float] = (),
) -> None:
    """Let the LoRA act on this clone at the steps between two shares of the sampling range, both included.

    model: a clone of the caller's own; targets: what goes where; start, end: 0 is the noisy end of the range
    walked: shares of the strength at the keyframes of a walk; none: the whole strength in every frame
    raises:  ValueError if the file holds more than plain pairs, or a weight's layer cannot be added to
    """
    _require_pairs(targets, file.name)
    layers = tuple(_layer(model.model, target, strength, file.name) for target in targets)
    ranged = RangedLora(layers, start, end, file.name, tuple(walked))
    key = f"{KEY_MARK} {file.sha256[:16]} strength {strength!r} range {start!r} to {end!r}"
    if walked:
        key += f" walked {list(walked)!r}"
    while key in model.wrappers.get(WrappersMP.APPLY_MODEL, {}):
        key += ", again"
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, key, ranged.apply_model)
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, key, ranged.outer_sample)


def _require_pairs(targets: Sequence[Target], file: str) -> None:
    whole = [target.part.key for target in targets if isinstance(target.part, Replacement)]
    dora = [target.part.name for target in targets if getattr(target.part, "dora_scale", None) is not None]
    if whole or dora:
        raise ValueError(
            f"'{file}' holds more than plain LoRA pairs ({name_some([*whole, *dora])}), which "
            f"cannot be limited to a part of the sampling range: {ADVICE}"
        )


def _layer(network: nn.Module, target: Target, strength: float, file: str) -> Layer:
    path, attribute = target.weight.rsplit(".", 1)
    module = comfy.utils.get_attr(network, path)
    whole = isinstance(target.place, str)
    by_rows = whole or (target.place[1][0] == 0 and len(target.place) == 2)
    plain = attribute == "weight" and (is_linear(module) or is_convolution(module))
    if not (plain and by_rows):
        raise ValueError(
            f"'{file}' changes {target.weight}, which is no plain linear or convolution layer "
            f"and cannot be limited to a part of the sampling range: {ADVICE}"
        )
    rows = None if whole else (target.place[1][1], target.place[1][2])
    return Layer(path=path, pair=target.part, scale=strength * target.part.scale, rows=rows)


class RangedLora:
    """Wrappers around the host's model call and sampling run.

    Never changed once made, but for copies of its matrices on the sampling device, which last for one run; so
    the clones of a model can share it.
    """

    def __init__(self, layers: tuple[Layer, ...], start: float, end: float, file: str, walked: tuple[float, ...] = ()):
        self.layers, self.start, self.end, self.file, self.walked = layers, start, end, file, walked
        self._copies: dict[tuple[torch.device, torch.dtype], list[Addition]] = {}

    def apply_model(self, executor: WrapperExecutor, x: Tensor, sigma: Tensor, *args, **kwargs) -> Tensor:
        """Around BaseModel.apply_model: with the LoRA where sigma lies in the range, untouched elsewhere."""
        network = executor.class_obj
        inside = int(self._inside(network.model_sampling, sigma).sum())
        if inside == 0:
            return executor(x, sigma, *args, **kwargs)
        if inside < sigma.shape[0]:
            raise ValueError(
                f"'{self.file}' is limited to a part of the sampling range and the model was "
                f"asked for samples inside and outside of it in one batch: {ADVICE}"
            )
        additions = self._on(x.device, network.get_dtype_inference())
        if self.walked:
            shares = self._shares(options_of(args, kwargs), len(x)).to(x.device, torch.float32)
            if not shares.any():
                return executor(x, sigma, *args, **kwargs)
            additions = [replace(addition, shares=shares) for addition in additions]
        with added(network, additions):
            return executor(x, sigma, *args, **kwargs)

    def _shares(self, options: Mapping, rows: int) -> Tensor:
        """[rows] of the strength."""
        walk = walk_of(options, rows)
        return walked_numbers(walk, self.walked).repeat(rows // len(walk))

    def outer_sample(
        self, executor: WrapperExecutor, noise: Tensor, latent: Tensor, sampler: object, sigmas: Tensor, *args, **kwargs
    ) -> Tensor:
        """Around a whole sampling run: says when no step lies in the range, and frees the copies."""
        sampling = executor.class_obj.model_patcher.get_model_object("model_sampling")
        if not bool(self._inside(sampling, sigmas[:-1]).any()):
            log.warning(
                "'%s' changed nothing in this run: no step lies between start_percent %g and end_percent %g",
                self.file,
                self.start,
                self.end,
            )
        try:
            return executor(noise, latent, sampler, sigmas, *args, **kwargs)
        finally:
            self._copies.clear()

    def _inside(self, sampling: object, sigma: Tensor) -> Tensor:
        """[B] bool, by the host's rule for the timestep ranges of conditioning: both ends belong to it."""
        high, low = (sampling.percent_to_sigma(share) for share in (self.start, self.end))
        return (sigma <= high) & (sigma >= low)

    def _on(self, device: torch.device, dtype: torch.dtype) -> list[Addition]:
        """What is added to each layer, where and how the network computes."""
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
