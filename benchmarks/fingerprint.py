"""Seconds to tell a full-size SD1.5 from another one: the fingerprint that every replay checks.

ComfyUI's own SD1.5 model class with 860 million weights (half precision, uninitialised), and a LoRA-like patch on every
attention weight. Needs 3 GB of free memory.

    .host/venv/bin/python benchmarks/fingerprint.py
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import torch

from benchmarks._bench import report, seconds
from benchmarks._full_size import full_size_model
from devtools.in_process import HostPack, use_host


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
        report(
            {
                "benchmark": "fingerprint",
                "model": "SD1.5 shapes",
                "weights": weights,
                "patched": len(attention),
                "dtype": "float16",
                "seconds_median": round(statistics.median(runs), 3),
                "seconds_worst": round(max(runs), 3),
            }
        )


if __name__ == "__main__":
    with torch.inference_mode():
        main()
