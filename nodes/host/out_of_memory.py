"""What is done when memory runs out: smaller batches where there are any, and a sentence where there are none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import comfy.model_management
import torch

ALONE = (
    "Walk Sampler: memory ran out in a single frame",
    "make the frames smaller, use a smaller or more strongly quantised model, or close what else needs memory",
)
log = logging.getLogger(__name__)


class Batches:
    """How many of a walk's frames go through the model together; fewer from the moment at which memory ran out.

    size: now; first: at the start
    """

    def __init__(self, size: int):
        self.first = self.size = size

    def run(self, start: int, stop: int, work: Callable[[int, int], None]) -> None:
        """work(first, last) over the frames start..stop, in order; what memory ran out in is done again in parts.

        raises: torch's OutOfMemoryError with a sentence when one frame alone does not fit
        """
        while start < stop:
            end = min(start + self.size, stop)
            if self._fits(start, end, work):
                start = end

    def _fits(self, start: int, end: int, work: Callable[[int, int], None]) -> bool:
        alone = end - start == 1
        try:
            with memory_named(*ALONE) if alone else nullcontext():
                work(start, end)
            return True
        except Exception as error:
            if alone or not comfy.model_management.is_oom(error):
                raise
        # Only here, outside of the except, nothing holds on to what the failed batch had allocated.
        self.size = (end - start + 1) // 2
        log.warning("memory ran out in a batch of %d frames; going on with batches of %d", end - start, self.size)
        comfy.model_management.soft_empty_cache()
        return False


@contextmanager
def memory_named(what: str, advice: str) -> Iterator[None]:
    """Where memory runs out within it, the error says so in a sentence of ours; the host still sees what it is, and
    frees what it holds.

    what: has happened; advice: what a user can do
    """
    try:
        yield
    except Exception as error:
        if not comfy.model_management.is_oom(error):
            raise
        raise torch.OutOfMemoryError(f"{what}; {advice}") from error
