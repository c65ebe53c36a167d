"""The key of a walk, which is the same after a crash and a restart, and another for other frames."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...smooth_lora.files.content_key import content_key
from ..host.memory_estimate import Conds
from ..model.fingerprint import content_stamp, read_model, weights_stamp
from ..walks.chunks import chunk_conds
from ..walks.conditioning import PATH_ENTRY
from ..walks.job import RenderJob

KEY_VERSION = 1  # changes when the same inputs would give other frames
READ_AT = (0.0, 0.37, 1.0)  # positions among a walk's frames at which noise and conditionings are read
KEY_DIGITS = 32


def walk_key(job: RenderJob, **more: object) -> tuple[str, bool]:
    """Returns a key for everything that decides the frames of a walk, and whether all of it could be read.

    more: plain values that decide what is made of the frames
    """
    stamp, complete = read_model(job.wires.guider.model_patcher)
    reader = _Reader()
    parts = {**_sampling(job, reader), **_sampled(job, reader)}
    key = content_key(version=KEY_VERSION, model=stamp, batch=job.batch, more=more, **parts)
    return key[:KEY_DIGITS], complete and reader.complete


def _sampling(job: RenderJob, reader: _Reader) -> dict[str, object]:
    """Content of everything but the model that samples and decodes the frames."""
    guider, sampler = job.wires.guider, job.wires.sampler
    function: Any = getattr(sampler, "sampler_function", sampler)
    options = [getattr(sampler, name, {}) for name in ("extra_options", "inpaint_options")]
    settings = {name: value for name, value in vars(guider).items() if isinstance(value, (int, float, str))}
    return {
        "vae": weights_stamp(job.wires.decoder),
        "sigmas": job.wires.sigmas,
        "guider": reader.plain({"class": type(guider).__name__, **settings}),
        "sampler": reader.plain([inspect.unwrap(function), *options]),
    }


def _sampled(job: RenderJob, reader: _Reader) -> dict[str, object]:
    """Content that the frames are sampled from."""
    numbers = [job.walk.numbers[round(position * (len(job.walk) - 1))] for position in READ_AT]
    return {
        "seed": job.wires.noise.seed,
        "latent": job.samples,
        "mask": job.wires.noise_mask,
        "noise": [job.noise.at(job.walk.select([number])) for number in numbers],
        "texts": [reader.plain(_conditionings(job, number)) for number in numbers],
        "walk": vars(job.walk),
    }


def _conditionings(job: RenderJob, number: int) -> Conds:
    """The conditionings of one frame, without the names that the host draws anew for each."""
    index = job.walk.numbers.index(number)
    conds = chunk_conds(job.wires.guider.original_conds, job.walk, index, index + 1)
    return {
        kind: [{name: value for name, value in entry.items() if name not in ("uuid", PATH_ENTRY)} for entry in entries]
        for kind, entries in conds.items()
    }


class _Reader:
    """Turns what a graph holds into plain data and tensors; other objects into what can be read of them.

    complete: whether everything could be read
    """

    def __init__(self) -> None:
        self.complete = True

    def plain(self, value: object) -> object:
        """Returns the value as plain data and tensors."""
        if value is None or isinstance(value, (Tensor, bool, int, float, str)):
            return value
        if isinstance(value, Mapping):
            return {str(name): self.plain(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.plain(item) for item in value]
        stamp, seen = content_stamp(value)
        self.complete &= seen
        return stamp
