"""Cuts everything that a graph holds per frame down to the frames of one chunk.

The host pads or cuts a batch of the wrong length silently; here a wrong length is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from comfy.controlnet import ControlBase
from torch import Tensor

from ...smooth_lora.walks.walk import Walk
from ..host.memory_estimate import Conds
from .conditioning import PATH_ENTRY

Entry = dict[str, Any]  # of a guider's conditionings, as comfy.sampler_helpers.convert_cond makes it

# Entries of a converted conditioning that never hold a row per frame.
_NOT_PER_FRAME = frozenset({PATH_ENTRY, "uuid", "hooks", "model_conds", "control"})


class ChunkRange(NamedTuple):
    """The frames start..stop among so many that are rendered in this run."""

    start: int
    stop: int
    frames: int


@dataclass(frozen=True)
class MovedFrames:
    """Why frames are rendered at positions other than their own, for an error sentence.

    who: the one that moves them; why: the reason; instead: what else a user can do
    """

    who: str
    why: str
    instead: str


class RowsError(ValueError):
    """Something holds neither one row nor one for each frame.

    name: what messages call it; rows: how many it holds
    """

    def __init__(self, name: str, rows: int, frames: int):
        super().__init__(
            f"Walk Sampler: {name} holds {rows} rows, but the walk renders {frames} frames; give it 1 row or {frames}"
        )
        self.name, self.rows = name, rows


def rows_of_chunk(name: str, value: Tensor, part: ChunkRange) -> Tensor:
    """Returns the chunk's rows of a tensor that holds one row per frame; a single row serves every frame.

    raises: RowsError when it holds neither one row nor one for each frame
    """
    if value.ndim == 0 or value.shape[0] == 1:
        return value
    if value.shape[0] == part.frames:
        return value[part.start : part.stop]
    raise RowsError(name, value.shape[0], part.frames)


def chunk_conds(conds: Conds, walk: Walk, start: int, stop: int) -> Conds:
    """Returns a guider's conditionings for the frames start..stop of a walk; the originals stay as they are.

    walk:   all frames rendered in this run
    raises: RowsError naming the entry that holds neither one row nor one for each frame
    """
    cut = _ConditioningChunk(walk, ChunkRange(start, stop, len(walk)))
    return {kind: [cut.entry(f"{kind} conditioning", entry) for entry in entries] for kind, entries in conds.items()}


class _ConditioningChunk:
    """Cuts the entries of conditionings; those that shared a ControlNet share its copy."""

    def __init__(self, walk: Walk, part: ChunkRange):
        self._walk, self._part = walk.select(walk.numbers[part.start : part.stop]), part
        self._controls: dict[int, ControlBase] = {}

    def entry(self, name: str, entry: Entry) -> Entry:
        """Returns one entry, cut; name: for messages."""
        path = entry.get(PATH_ENTRY)
        walked = {} if path is None else path.at(self._walk)
        return {key: walked[key] if key in walked else self._value(key, name, value) for key, value in entry.items()}

    def _value(self, key: str, name: str, value: Any) -> Any:
        if key == "control":
            return self._control(f"the ControlNet hint of the {name}", value)
        if key == "model_conds":
            return {kind: self._model_cond(f"{kind} of the {name}", cond) for kind, cond in value.items()}
        return value if key in _NOT_PER_FRAME else self._rows(f"{key} of the {name}", value)

    def _rows(self, name: str, value: Any) -> Any:
        if isinstance(value, Tensor):
            return rows_of_chunk(name, value, self._part)
        if isinstance(value, (list, tuple)) and value and all(isinstance(item, Tensor) for item in value):
            return type(value)(rows_of_chunk(name, item, self._part) for item in value)
        return value

    def _model_cond(self, name: str, cond: Any) -> Any:
        tensor = getattr(cond, "cond", None)
        return cond._copy_with(rows_of_chunk(name, tensor, self._part)) if isinstance(tensor, Tensor) else cond

    def _control(self, name: str, control: ControlBase) -> ControlBase:
        """Copies a chain of ControlNets with this chunk's hints.

        A chain whose hints hold one image each is passed on as it is: every frame sees the same hint.
        """
        if all(hint.shape[0] == 1 for link in _chain(control) for hint in _hints(link)):
            return control
        if id(control) not in self._controls:
            link = control.copy()
            link.cond_hint_original = rows_of_chunk(name, control.cond_hint_original, self._part)
            link.extra_concat_orig = [rows_of_chunk(name, extra, self._part) for extra in control.extra_concat_orig]
            if control.previous_controlnet is not None:
                link.set_previous_controlnet(self._control(name, control.previous_controlnet))
            self._controls[id(control)] = link
        return self._controls[id(control)]


def _hints(control: ControlBase) -> list[Tensor]:
    hints = [control.cond_hint_original, *control.extra_concat_orig]
    return [hint for hint in hints if isinstance(hint, Tensor)]


def _chain(control: ControlBase | None) -> list[ControlBase]:
    chain = []
    while control is not None:
        chain.append(control)
        control = control.previous_controlnet
    return chain


def require_unchanged_walks(conds: Conds) -> None:
    """Refuses a conditioning that another node altered after its walk was laid out.

    raises: ValueError naming the conditioning
    """
    for kind, entries in conds.items():
        for entry in entries:
            if PATH_ENTRY in entry:
                entry[PATH_ENTRY].require_unchanged(
                    entry.get("cross_attn"), entry.get("pooled_output"), f"{kind} conditioning"
                )


def chunk_latent(latent: Tensor, part: ChunkRange) -> Tensor:
    """Returns the latents [n, C, ...] of a chunk; a batch of one is repeated."""
    rows, count = rows_of_chunk("the LATENT batch", latent, part), part.stop - part.start
    return rows if rows.shape[0] == count else rows.repeat([count] + [1] * (rows.ndim - 1))


def chunk_mask(mask: Tensor | None, latent_ndim: int, part: ChunkRange) -> Tensor | None:
    """Returns the noise_mask of a chunk.

    For 5-D (video) latents the host reads the rows of a flat mask as time, the same in every sample, so it
    is passed on whole.
    """
    if mask is None or (latent_ndim == 5 and mask.ndim < 5):
        return mask
    if mask.ndim < 5:
        mask = mask.reshape((-1, 1, mask.shape[-2], mask.shape[-1]))
    return rows_of_chunk("the noise_mask of the LATENT", mask, part)


def require_movable(conds: Conds, latent: Tensor, mask: Tensor | None, moved: MovedFrames) -> None:
    """Refuses what holds one row per frame: nothing says what it would be at another position.

    raises: ValueError naming it
    """
    still = ChunkRange(0, 1, 1)
    try:
        chunk_latent(latent, still)
        chunk_mask(mask, latent.ndim, still)
        chunk_conds(conds, Walk((0.0,), (0,), 1), 0, 1)
    except RowsError as error:
        raise ValueError(
            f"{moved.who}: {error.name} holds {error.rows} rows, which belong to frames at their own "
            f"positions, and {moved.why}; give it 1 row, walk it with a walk node, or {moved.instead}"
        ) from error


def conditioning_keyframes(conds: Conds) -> int:
    """The most keyframes that a conditioning walks through; 1 if none walks."""
    paths = [entry[PATH_ENTRY] for entries in conds.values() for entry in entries if PATH_ENTRY in entry]
    return max((len(path.texts) for path in paths), default=1)


def same_in_every_frame(conds: Conds, latent: Tensor) -> bool:
    """Returns whether neither conditionings nor latents differ between frames, so that the noise alone can move
    the image."""
    walked = any(
        PATH_ENTRY in entry or _rows(entry.get("cross_attn")) > 1 for entries in conds.values() for entry in entries
    )
    return not walked and latent.shape[0] == 1


def _rows(value: Any) -> int:
    return int(value.shape[0]) if torch.is_tensor(value) else 1
