"""Peak memory of a piece of work, where the device or the system reports it."""

from __future__ import annotations

from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Bytes in use at the highest point of a `with` block, above what was in use at its start.

    device: on CUDA torch's own count is read; on a CPU under Linux the process's high-water mark, which is reset first
    bytes:  after the block; None where nothing reports it
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.bytes: int | None = None

    def __enter__(self) -> PeakMemory:
        self._start = self._bytes_now()
        return self

    def __exit__(self, *_: object) -> None:
        if self._start is None:
            return
        if self.device.type == "cuda":
            self.bytes = max(0, torch.cuda.max_memory_allocated(self.device) - self._start)
        else:
            self.bytes = max(0, _status_bytes("VmHWM") - self._start)

    def _bytes_now(self) -> int | None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return torch.cuda.memory_allocated(self.device)
        if self.device.type != "cpu":
            return None
        try:
            _RESET.write_text("5", encoding="ascii")
            return _status_bytes("VmRSS")
        except OSError:
            return None


def _status_bytes(name: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))
