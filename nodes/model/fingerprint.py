"""Digests of everything in a MODEL that decides its output: weights, patches, wrappers, sampling."""

from __future__ import annotations

import dis
import hashlib
from collections.abc import Iterator, Mapping
from enum import Enum
from types import BuiltinFunctionType, CellType, CodeType, FunctionType

import torch
from comfy.model_patcher import ModelPatcher
from comfy.quant_ops import QuantizedTensor
from comfy.weight_adapter import WeightAdapterBase
from torch import Tensor, nn

from ..host.protocols import Vae
from .call import KEY_MARK

SAMPLED_VALUES = 16  # read from each tensor
FINGERPRINT_DIGITS = 16  # hexadecimal
SAMPLING = "model_sampling"
COMPUTE_DTYPE = "manual_cast_dtype"  # the host sets it on every text encoder
MUTABLE_TYPES = (list, dict, set, bytearray)
HASHED_PARTS = ("diffusion_model.", SAMPLING)  # the rest of a model, but for object patches, is only helpers


def fingerprint(model: ModelPatcher) -> str:
    """Digests a model into sixteen hexadecimal digits, see `read_model`."""
    return read_model(model)[0]


def read_model(model: ModelPatcher) -> tuple[str, bool]:
    """Returns the fingerprint of a model, and whether it saw everything.

    Of each tensor, sixteen values at equal distances are read, as float32: so a checkpoint of 860 million
    weights takes a moment, half precision and its exact float32 copy agree, and a change between the places
    read goes unseen. The original weights are read, never those with LoRAs merged in, so it is the same
    before, during and after loading, on any device and after a restart. Of functions that other packs add, the
    name, the defaults and the plain values that they enclose are read.

    model:   read only
    returns: sixteen hexadecimal digits; False if the model holds objects of which only the name could be read, so that
             two models with the same digits may differ: enough to warn, too little to take a result from a cache
    source:  our own
    """
    digest, reader = hashlib.sha256(), _Reader()
    for line in _lines(model, reader):
        digest.update(line + b"\n")
    return digest.hexdigest()[:FINGERPRINT_DIGITS], not reader.unread


def weights_stamp(vae: Vae | None) -> str | None:
    """Digests a VAE's weights, read as `read_model` reads a model's, into sixteen digits; None without a VAE."""
    if vae is None:
        return None
    return _digest_of(vae.get_sd(), _Reader()).hexdigest()[:FINGERPRINT_DIGITS]


def text_encoder_stamp(clip) -> str | None:
    """Digests everything that decides a CLIP's conditionings into sixteen hexadecimal digits.

    returns: None if it carries something that cannot be read off, such as a LoRA or hooks
    """
    objects = clip.patcher.object_patches.keys() - {COMPUTE_DTYPE}
    if clip.patcher.patches or clip.patcher.forced_hooks or clip.apply_hooks_to_conds or objects:
        return None
    reader = _Reader()
    digest = _digest_of(clip.cond_stage_model.state_dict(), reader)
    digest.update(reader.content([type(clip.cond_stage_model).__name__, clip.layer_idx, clip.tokenizer_options]))
    return None if reader.unread else digest.hexdigest()[:FINGERPRINT_DIGITS]


def content_stamp(value: object) -> tuple[str, bool]:
    """Digests what can be read of an object of the host into sixteen digits, and says if that is all of it."""
    reader = _Reader()
    return hashlib.sha256(reader.content(value)).hexdigest()[:FINGERPRINT_DIGITS], not reader.unread


def _digest_of(weights: Mapping[str, Tensor], reader: _Reader) -> hashlib._Hash:
    """Hash of weights and their names so far."""
    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(name.encode() + reader.content(weight))
    return digest


def _lines(model: ModelPatcher, reader: _Reader) -> Iterator[bytes]:
    yield f"model {type(model.model.model_config).__name__}".encode()
    for name in sorted({SAMPLING, *model.object_patches}):
        yield f"object {name}".encode() + reader.object(model.get_model_object(name))
    for name, value in sorted(_originals(model).items()):
        # Tables of sigmas are computed at start-up, where processors differ in the last digits.
        if name.startswith(SAMPLING) and isinstance(value, Tensor):
            value = value.half()
        yield f"weight {name}".encode() + reader.content(value)
    for name, patches in sorted(model.patches.items()):
        yield f"patches {name}".encode() + reader.content(patches)
    for what, named in (("wrapper", model.wrappers), ("callback", model.callbacks)):
        for kind, by_key in sorted(named.items()):
            for key, functions in by_key.items():
                known = str(key).startswith(KEY_MARK)  # our own keys say everything about what they stand for
                yield f"{what} {kind} {key}".encode() + reader.content(len(functions) if known else list(functions))
    yield from (
        f"injection {key}".encode() + reader.content(list(injections)) for key, injections in model.injections.items()
    )
    for name, functions in sorted(model.weight_wrapper_patches.items()):
        yield f"weight wrapper {name}".encode() + reader.content(functions)
    yield b"options" + reader.content(model.model_options)


def _originals(model: ModelPatcher) -> dict[str, object]:
    """Returns the network's own tensors and objects by name, whatever is loaded into the shared network just now."""
    values: dict[str, object] = dict(model.model.state_dict())
    for name, (weight, _) in model.hook_backup.items():
        values.update(_stored(name, weight))
    # After the hooks: a hook that came later saved what the LoRA had made of a weight.
    for name, backup in model.backup.items():
        values.update(_stored(name, backup.weight))
    values.update(model.backup_buffers)
    for name in {**model.object_patches_backup, **model.object_patches}:
        values = {key: value for key, value in values.items() if not f"{key}.".startswith(f"{name}.")}
        original = model.get_model_object(name)
        parts = original.state_dict() if isinstance(original, nn.Module) else {}
        values.update({f"{name}.{key}": part for key, part in parts.items()} or {name: original})
    patched = tuple(model.object_patches)
    return {name: value for name, value in values.items() if name.startswith((*HASHED_PARTS, *patched))}


def _stored(name: str, weight: Tensor) -> dict[str, Tensor]:
    """Returns a weight as the network's state_dict lists it: a quantised one in several tensors."""
    return weight.state_dict(name) if isinstance(weight, QuantizedTensor) else {name: weight}


class _Reader:
    """Turns content into bytes that are equal for equal content in any process.

    unread: names of the objects it could not look into
    """

    def __init__(self) -> None:
        self.unread: set[str] = set()
        self._within: set[int] = set()  # functions being read: one that encloses itself has no end

    def content(self, value: object) -> bytes:
        """Reads tensors, patches, plain values and functions, and lists and tables of these."""
        if isinstance(value, QuantizedTensor):
            return self.content(list(value.state_dict("").values()))
        if isinstance(value, Tensor):
            return f"{tuple(value.shape)}".encode() + _samples(value)
        if isinstance(value, WeightAdapterBase):
            return value.name.encode() + self.content(value.weights)
        if isinstance(value, dict):
            return b"{" + self.content([part for key in sorted(value, key=repr) for part in (key, value[key])]) + b"}"
        if isinstance(value, (list, tuple)):
            return b"[" + b",".join(map(self.content, value)) + b"]"
        if value is None or isinstance(value, (str, int, float, bool, torch.dtype, Enum)):
            return repr(value).encode()
        if isinstance(value, FunctionType):
            return self._function(value)
        if not isinstance(value, (type, BuiltinFunctionType)):
            self.unread.add(_name(value))
        return _name(value).encode()

    def object(self, value: object) -> bytes:
        """Reads an object by its name, the classes it is made of, and its numbers and texts.

        The host composes a sampling out of bases under one and the same class name (eps, v and x0 prediction differ in
        a base alone), and keeps a flow's multiplier or an EDM's sigma_data outside of the tensors.
        """
        bases = [f"{_module(base)}.{base.__qualname__}" for base in type(value).__mro__]
        plain = {
            name: item
            for name, item in getattr(value, "__dict__", {}).items()
            if isinstance(item, (int, float, str)) and not name.startswith("_") and name != "training"
        }
        return self.content([_name(value), bases, plain])

    def _function(self, function: FunctionType) -> bytes:
        """Reads a function by its name, and the values that a node put into it.

        Values that may change while it works (a count of steps, a table that it fills) are left unread: otherwise the
        same model would seem another one after its first run.
        """
        if id(function) in self._within:
            return _name(function).encode()
        self._within.add(id(function))
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        enclosed, changed = {name: _value_in(cell) for name, cell in cells}, _rebound(function.__code__)
        state = [name for name, value in enclosed.items() if name in changed or isinstance(value, MUTABLE_TYPES)]
        self.unread.update(f"{name} in {_name(function)}" for name in state)
        fixed = {name: value for name, value in enclosed.items() if name not in state}
        read = self.content([fixed, function.__defaults__, function.__kwdefaults__])
        self._within.discard(id(function))
        return _name(function).encode() + read


def _rebound(code: CodeType) -> set[str]:
    """Names of the enclosed variables that a function, or one within it, assigns to."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_DEREF"}
    return names.union(*(_rebound(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def _value_in(cell: CellType) -> object:
    """Content of an enclosed variable; None before it holds anything."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _name(value: object) -> str:
    """Names a function by its own name, any other object by its class, never by its address."""
    named = value if callable(value) and hasattr(value, "__qualname__") else type(value)
    return f"{_module(named)}.{named.__qualname__}"


def _module(named: object) -> str:
    """Names a module without the folder by which the host names those of nodes: it is another on every machine."""
    return str(named.__module__).replace("\\", "/").rpartition("/")[2]


def _samples(tensor: Tensor) -> bytes:
    if tensor.is_meta or tensor.numel() == 0:
        return b"-"
    count = min(SAMPLED_VALUES, tensor.numel())
    places = torch.tensor([step * (tensor.numel() - 1) // max(count - 1, 1) for step in range(count)])
    # Indexed by its axes: flattening would copy a whole weight that lies channels-last.
    values = tensor[torch.unravel_index(places, tensor.shape)] if tensor.ndim else tensor.reshape(1)
    return values.detach().float().cpu().numpy().tobytes()
