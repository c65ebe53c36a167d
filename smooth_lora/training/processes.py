"""Several processes that train together, through torch.distributed; one alone needs none of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """The processes that train together: this one's rank among them, and their number."""

    rank: int = 0
    size: int = 1

    @classmethod
    def present(cls) -> Processes:
        """Returns the process group that is initialised, or this process alone."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes, the same in each."""
        if self.size == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total / self.size

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replaces tensors by their means over all processes, in one exchange."""
        tensors = list(tensors)
        if self.size == 1 or not tensors:
            return
        flat = self.mean(torch.cat([tensor.flatten() for tensor in tensors]))
        for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def gathered(self, text: str) -> list[str]:
        """Returns the texts of all processes in the order of their ranks; each waits for the last one.

        Texts go over the CPU: a group that trains on GPUs needs gloo as well as nccl.
        """
        if self.size == 1:
            return [text]
        content = text.encode()
        lengths = [int(length) for length in self._gathered(torch.tensor([len(content)]))]
        longest = max(1, *lengths)
        rows = self._gathered(torch.frombuffer(bytearray(content.ljust(longest, b"\0")), dtype=torch.uint8))
        return [bytes(row.tolist())[:length].decode() for row, length in zip(rows, lengths, strict=True)]

    def _gathered(self, value: Tensor) -> list[Tensor]:
        values = [torch.empty_like(value) for _ in range(self.size)]
        dist.all_gather(values, value)
        return values
