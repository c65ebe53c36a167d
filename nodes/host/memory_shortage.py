"""Memory that ran out: smaller batches where possible, and a sentence with a remedy where not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import comfy.model_management
import torch

SINGLE_FRAME = (
    "Walk Sampler: memory ran out in a single frame",
    "make the frames smaller, use a smaller or more strongly quantised model, or close what else needs memory",
)
log = logging.getLogger(__name__)


class Batches:
    """Batches of a walk's frames, halved whenever memory runs out in one.

    size:  frames that go through the model together now
    first: size at the start
    """

    def __init__(self, size: int):
        self.first = self.size = size

    def run(self, start: int, stop: int, work: Callable[[int, int], None]) -> None:
        """Calls work(first, last) over the frames start..stop, in order; a batch without enough memory again in parts.

        raises: torch's OutOfMemoryError with a sentence when one frame alone does not fit
        """
        while start < stop:
            end = min(start + self.size, stop)
            if self._fits(start, end, work):
                start = end

    def _fits(self, start: int, end: int, work: Callable[[int, int], None]) -> bool:
        alone = end - start == 1
        try:
            with shortage_explained(*SINGLE_FRAME) if alone else nullcontext():
                work(start, end)
            return True
        except Exception as error:
            if alone or not comfy.model_management.is_oom(error):
                raise
        # Only here, outside of the except, nothing refers to the memory of the failed batch.
        self.size = (end - start + 1) // 2
        log.warning("memory ran out in a batch of %d frames; going on with batches of %d", end - start, self.size)
        comfy.model_management.soft_empty_cache()
        return False


@contextmanager
def shortage_explained(happened: str, remedy: str) -> Iterator[None]:
    """Raises a sentence where memory runs out in the block, as an error that the host still recognises and frees for.

    happened: in which node and in what; remedy: for a user
    raises:   torch's OutOfMemoryError
    """
    try:
        yield
    except Exception as error:
        if not comfy.model_management.is_oom(error):
            raise
        raise torch.OutOfMemoryError(f"{happened}; {remedy}") from error
