"""Cuts everything that a graph holds per frame down to the frames of one chunk.

The host pads or cuts a batch of the wrong length silently; here a wrong length is refused by name.
"""

import torch
from torch import Tensor

from ...smooth_lora.walks.walk import Walk
from .conditioning import WALK_KEY

# Entries of a converted conditioning that never hold a row per frame.
_NOT_PER_FRAME = frozenset({WALK_KEY, "uuid", "hooks", "model_conds", "control"})


class RowsError(ValueError):
    """Something holds neither one row nor one for each frame.

    name: what messages call it; rows: how many it holds
    """

    def __init__(self, name: str, rows: int, frames: int):
        super().__init__(
            f"Walk Sampler: {name} holds {rows} rows, but the walk renders {frames} frames; give it 1 row or {frames}."
        )
        self.name, self.rows = name, rows


def rows_of(name: str, value: Tensor, start: int, stop: int, frames: int) -> Tensor:
    """Rows start..stop of a tensor that holds one row per frame; a single row serves every frame.

    raises: RowsError when it holds neither 1 nor `frames` rows
    """
    if value.ndim == 0 or value.shape[0] == 1:
        return value
    if value.shape[0] == frames:
        return value[start:stop]
    raise RowsError(name, value.shape[0], frames)


def chunk_conds(conds: dict[str, list[dict]], walk: Walk, start: int, stop: int) -> dict[str, list[dict]]:
    """The guider's conditionings for frames start..stop of the walk; the originals stay as they are.

    conds: name -> entries, as comfy.sampler_helpers.convert_cond makes them
    walk:  all frames rendered in this run
    raises: ValueError naming the entry that holds neither 1 row nor one per frame
    """
    controls: dict[int, object] = {}
    return {
        kind: [_chunk_entry(f"{kind} conditioning", entry, walk, start, stop, controls) for entry in entries]
        for kind, entries in conds.items()
    }


def _chunk_entry(name: str, entry: dict, walk: Walk, start: int, stop: int, controls: dict[int, object]) -> dict:
    path = entry.get(WALK_KEY)
    walked = path.at(walk.select(walk.numbers[start:stop])) if path is not None else {}
    frames = len(walk)
    out = dict(entry)
    for key, value in entry.items():
        if key in walked:
            out[key] = walked[key]
        elif key == "control":
            out[key] = _chunk_control(f"the ControlNet hint of the {name}", value, start, stop, frames, controls)
        elif key == "model_conds":
            out[key] = {k: _chunk_model_cond(f"{k} of the {name}", v, start, stop, frames) for k, v in value.items()}
        elif key not in _NOT_PER_FRAME:
            out[key] = _chunk_value(f"{key} of the {name}", value, start, stop, frames)
    return out


def _chunk_value(name: str, value, start: int, stop: int, frames: int):
    if isinstance(value, Tensor):
        return rows_of(name, value, start, stop, frames)
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, Tensor) for item in value):
        return type(value)(rows_of(name, item, start, stop, frames) for item in value)
    return value


def _chunk_model_cond(name: str, cond, start: int, stop: int, frames: int):
    tensor = getattr(cond, "cond", None)
    if not isinstance(tensor, Tensor):
        return cond
    return cond._copy_with(rows_of(name, tensor, start, stop, frames))


def _hints(control) -> list[Tensor]:
    hints = [control.cond_hint_original, *control.extra_concat_orig]
    return [hint for hint in hints if isinstance(hint, Tensor)]


def _chain(control) -> list:
    chain = []
    while control is not None:
        chain.append(control)
        control = control.previous_controlnet
    return chain


def _chunk_control(name: str, control, start: int, stop: int, frames: int, done: dict[int, object]):
    """A copy of a ControlNet chain with this chunk's hints; conds that shared a chain share the copy.

    A chain whose hints hold one picture each is passed on as it is: every frame sees the same hint.
    """
    if all(hint.shape[0] == 1 for link in _chain(control) for hint in _hints(link)):
        return control
    if id(control) not in done:
        link = control.copy()
        link.cond_hint_original = rows_of(name, control.cond_hint_original, start, stop, frames)
        link.extra_concat_orig = [rows_of(name, extra, start, stop, frames) for extra in control.extra_concat_orig]
        if control.previous_controlnet is not None:
            link.set_previous_controlnet(_chunk_control(name, control.previous_controlnet, start, stop, frames, done))
        done[id(control)] = link
    return done[id(control)]


def require_unchanged_walks(conds: dict[str, list[dict]]) -> None:
    """Refuse a conditioning that another node altered after its walk was laid out.

    raises: ValueError naming the conditioning
    """
    for kind, entries in conds.items():
        for entry in entries:
            if WALK_KEY in entry:
                entry[WALK_KEY].require_unchanged(
                    entry.get("cross_attn"), entry.get("pooled_output"), f"{kind} conditioning"
                )


def chunk_latent(latent: Tensor, start: int, stop: int, frames: int) -> Tensor:
    """The latents [n, C, ...] of frames start..stop; a batch of one is repeated."""
    rows = rows_of("the LATENT batch", latent, start, stop, frames)
    if rows.shape[0] == stop - start:
        return rows
    return rows.repeat([stop - start] + [1] * (rows.ndim - 1))


def chunk_mask(mask: Tensor | None, latent_ndim: int, start: int, stop: int, frames: int) -> Tensor | None:
    """The noise_mask of frames start..stop.

    For 5-D (video) latents the host reads the rows of a flat mask as time, the same in every sample, so it
    is passed on whole.
    """
    if mask is None or (latent_ndim == 5 and mask.ndim < 5):
        return mask
    if mask.ndim < 5:
        mask = mask.reshape((-1, 1, mask.shape[-2], mask.shape[-1]))
    return rows_of("the noise_mask of the LATENT", mask, start, stop, frames)


def require_movable(
    conds: dict[str, list[dict]], latent: Tensor, mask: Tensor | None, who: str, why: str, instead: str
) -> None:
    """Refuse what holds one row per frame: nothing says what it would be at another position.

    who, why, instead: of the message: who asks, why frames lie elsewhere, what else can be done
    raises: ValueError naming it
    """
    still = Walk((0.0,), (0,), 1)
    try:
        chunk_latent(latent, 0, 1, 1)
        chunk_mask(mask, latent.ndim, 0, 1, 1)
        chunk_conds(conds, still, 0, 1)
    except RowsError as error:
        raise ValueError(
            f"{who}: {error.name} holds {error.rows} rows, which belong to frames at their own "
            f"positions, and {why}; give it 1 row, walk it with a walk node, or {instead}"
        ) from error


def text_keyframes(conds: dict[str, list[dict]]) -> int:
    """The most keyframes that a text walks through; 1 if none walks."""
    paths = [entry[WALK_KEY] for entries in conds.values() for entry in entries if WALK_KEY in entry]
    return max((len(path.texts) for path in paths), default=1)


def same_in_every_frame(conds: dict[str, list[dict]], latent: Tensor) -> bool:
    """Whether neither text nor latents differ between frames, so that only the noise can move the picture."""
    walked = any(
        WALK_KEY in entry or _rows(entry.get("cross_attn")) > 1 for entries in conds.values() for entry in entries
    )
    return not walked and latent.shape[0] == 1


def _rows(value) -> int:
    return value.shape[0] if torch.is_tensor(value) else 1
