"""Randomness of a training step: its images, noises and sigmas follow from the seed and the step's number alone.

Nothing is carried from step to step, so a run that is resumed, or spread over several processes, draws what an
unbroken run in one process draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def generator_for(seed: int, *purpose: object) -> torch.Generator:
    """Returns a CPU generator that depends on the seed and the purpose only, equal in every process."""
    name = "/".join(map(str, (seed, *purpose))).encode()
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name).digest()[:8], "little") >> 1)


class BatchPlan:
    """Batches of images of one size each; in every epoch each image comes at least once.

    sizes: of every image, anything that can be compared; batch: images per batch, of all processes together
    A size with fewer images than a batch holds, or a rest that does not fill one, is filled up with images of the
    same size from the front.
    """

    def __init__(self, sizes: Sequence[tuple[int, ...]], batch: int, seed: int):
        self.batch, self.seed = batch, seed
        self._buckets = [
            [image for image, other in enumerate(sizes) if other == size] for size in dict.fromkeys(map(tuple, sizes))
        ]
        self.per_epoch = sum(-(-len(bucket) // batch) for bucket in self._buckets)
        self._epoch = -1
        self._batches: list[list[int]] = []

    def rows(self, number: int) -> list[int]:
        """Returns the indices of the images in batch `number`, counted from 0 over all epochs."""
        epoch, batch = divmod(number, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._shuffled(epoch)
        return self._batches[batch]

    def _shuffled(self, epoch: int) -> list[list[int]]:
        generator = generator_for(self.seed, "epoch", epoch)
        batches: list[list[int]] = []
        for bucket in self._buckets:
            order = [bucket[k] for k in torch.randperm(len(bucket), generator=generator)]
            while len(order) % self.batch:
                order += order[: self.batch - len(order) % self.batch]
            batches += [order[k : k + self.batch] for k in range(0, len(order), self.batch)]
        return [batches[k] for k in torch.randperm(len(batches), generator=generator)]


@dataclass(frozen=True)
class RowDraw:
    """Randomness of one row of a batch.

    eps, probe: noise that is added, and the regulariser's; level: index into the table of sigmas
    empty: True if the row is trained with the empty prompt
    """

    eps: Tensor
    probe: Tensor
    level: int
    empty: bool


def draw_row(seed: int, row: int, shape: Sequence[int], *, levels: int, empty_share: float) -> RowDraw:
    """Draws the randomness of row `row`, counted from 0 over the whole training.

    shape: of one latent; levels: length of the table of sigmas; empty_share: probability of the empty prompt
    """
    generator = generator_for(seed, "row", row)
    level = int(torch.randint(levels, (), generator=generator))
    empty = float(torch.rand((), generator=generator)) < empty_share
    eps, probe = (torch.randn(*shape, generator=generator) for _ in range(2))
    return RowDraw(eps, probe, level, empty)
