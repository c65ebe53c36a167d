"""What tells one walk from another, after a crash and a restart too."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from torch import Tensor

from ...smooth_lora.files.content_key import content_key
from ..model.fingerprint import content_stamp, read_model, weights_stamp
from ..walks.chunks import chunk_conds
from ..walks.conditioning import WALK_KEY
from ..walks.render import Job

VERSION = 1  # changes when the same inputs would give other frames
PLACES = (0.0, 0.37, 1.0)  # of the walk, where noise and text are read


def walk_key(job: Job, sampler: object, **more: object) -> tuple[str, bool]:
    """A name for everything that decides the frames of a walk, and whether it saw everything.

    more: plain values that decide what is made of them
    """
    stamp, complete = read_model(job.guider.model_patcher)
    at = [job.walk.numbers[round(place * (len(job.walk) - 1))] for place in PLACES]
    reader = _Content()
    key = content_key(
        version=VERSION,
        model=stamp,
        vae=weights_stamp(job.vae),
        sigmas=job.sigmas,
        seed=job.seed,
        latent=job.samples,
        mask=job.noise_mask,
        noise=[job.noise.at(job.walk.select([number])) for number in at],
        texts=[reader.plain(_texts(job, number)) for number in at],
        guider=reader.plain({"class": type(job.guider).__name__, **_simple(job.guider)}),
        sampler=reader.plain(_sampler_parts(sampler)),
        walk=vars(job.walk),
        batch=job.batch,
        more=more,
    )
    return key[:32], complete and reader.complete


def _sampler_parts(sampler: object) -> list:
    """What it calls, below the decorators, and with what."""
    function = inspect.unwrap(getattr(sampler, "sampler_function", sampler))
    return [function, getattr(sampler, "extra_options", {}), getattr(sampler, "inpaint_options", {})]


def _simple(guider: object) -> dict:
    return {name: value for name, value in vars(guider).items() if isinstance(value, (int, float, str))}


def _texts(job: Job, number: int) -> dict:
    """The conditionings of one frame, without the names that the host draws anew for each."""
    place = job.walk.numbers.index(number)
    conds = chunk_conds(job.guider.original_conds, job.walk, place, place + 1)
    return {
        kind: [{name: value for name, value in entry.items() if name not in ("uuid", WALK_KEY)} for entry in entries]
        for kind, entries in conds.items()
    }


class _Content:
    """Turns what a graph holds into plain data and tensors; other objects into what can be read of them.

    complete: whether everything could be
    """

    def __init__(self) -> None:
        self.complete = True

    def plain(self, value: object) -> object:
        if value is None or isinstance(value, (Tensor, bool, int, float, str)):
            return value
        if isinstance(value, Mapping):
            return {str(name): self.plain(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.plain(item) for item in value]
        stamp, seen = content_stamp(value)
        self.complete &= seen
        return stamp
