"""Seconds to tell a full-size SD1.5 from another one: the fingerprint that every replay checks.

ComfyUI's own SD1.5 model class with 860 million weights (half precision, uninitialised), and a LoRA-like patch on every
attention weight. Needs 3 GB of free memory.

    .host/venv/bin/python -m benchmarks.fingerprint
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import torch

from devtools.in_process import HostPack, use_host

from ._bars import bar
from ._bench import command_line, report, seconds
from ._full_size import full_size_model

MOST_SECONDS = 1


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="smooth-benchmark-") as base:
        use_host(Path(base))
        fingerprint = HostPack().module("nodes.model.fingerprint").fingerprint
        model = full_size_model(torch.float16)
        weights = sum(weight.numel() for weight in model.model.diffusion_model.parameters())
        attention = {
            name: ("diff", (torch.zeros(1),))
            for name in model.model.state_dict()
            if "attn" in name and name.endswith("weight")
        }
        model.add_patches(attention, 0.5)
        runs = [seconds(lambda: fingerprint(model)) for _ in range(7)]
        median = round(statistics.median(runs), 3)
        report(
            {
                "benchmark": "fingerprint",
                "model": "SD1.5 shapes",
                "weights": weights,
                "patched": len(attention),
                "dtype": "float16",
                "runs": len(runs),
                "seconds_median": median,
                "seconds_worst": round(max(runs), 3),
                "bars": {"seconds_median": bar(median, at_most=MOST_SECONDS)},
            }
        )


if __name__ == "__main__":
    with torch.inference_mode():
        command_line(main, __doc__)
