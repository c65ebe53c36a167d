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
from devtools.in_process import HostPack, use_host


def full_size_model():
    """A MODEL of SD1.5's shapes."""
    import comfy.model_patcher
    from comfy.supported_models import SD15

    config = SD15({"image_size": 32, "in_channels": 4, "out_channels": 4, "num_res_blocks": [2, 2, 2, 2], "dropout": 0,
                   "channel_mult": (1, 2, 4, 4), "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
                   "transformer_depth_middle": 1, "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
                   "use_spatial_transformer": True, "legacy": False, "num_heads": 8, "dtype": torch.float16,
                   **SD15.unet_config})
    model = config.get_model({}, "")
    return comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="smooth-benchmark-") as base:
        use_host(Path(base))
        fingerprint = HostPack().module("nodes.adapters.fingerprint").fingerprint
        model = full_size_model()
        weights = sum(weight.numel() for weight in model.model.diffusion_model.parameters())
        attention = {name: ("diff", (torch.zeros(1),)) for name in model.model.state_dict()
                     if "attn" in name and name.endswith("weight")}
        model.add_patches(attention, 0.5)
        runs = [seconds(lambda: fingerprint(model)) for _ in range(7)]
        report({"benchmark": "fingerprint", "model": "SD1.5 shapes", "weights": weights, "patched": len(attention),
                "dtype": "float16", "seconds_median": round(statistics.median(runs), 3),
                "seconds_worst": round(max(runs), 3)})


if __name__ == "__main__":
    with torch.inference_mode():
        main()
