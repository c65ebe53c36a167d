"""Peak memory of rendering a walk, beside the frames themselves, for few frames and for many.

Each length runs in a process of its own. After a warm-up the kernel's high-water mark is reset, the walk is
rendered and decoded, and the mark is read again; the finished latents and pictures are taken off. Linux only.

    .host/venv/bin/python -m benchmarks.walk_memory [few frames] [many frames]
"""

from __future__ import annotations

from pathlib import Path

from ._bars import bar
from ._bench import command_line, in_processes, process_bytes, report

BATCH = 8
STEPS = 4  # memory does not depend on it
MOST_OVER_FEW = 1.05


def peak_of(frames: int) -> dict[str, int]:
    """Bytes in a fresh process, both without the frames: `peak` of all of it, `above` the loaded model alone."""
    return in_processes("walk_memory", [str(frames)], 1)[str(frames)][0]


def measure(frames: int) -> dict[str, int]:
    """The same in this process, which should have done nothing else."""
    import torch

    from ._demo import Demo

    with torch.inference_mode():
        demo = Demo()
        demo.walk(2 * BATCH, STEPS).rendered(BATCH, decode=True)
        walk = demo.walk(frames, STEPS)
        before = process_bytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
        done = walk.rendered(BATCH, decode=True)
        peak = process_bytes("VmHWM")
    frame_bytes = sum(t.numel() * t.element_size() for t in (done.latent["samples"], done.images))
    return {"peak": peak - frame_bytes, "above": peak - before - frame_bytes}


def main(few: int = 24, many: int = 240) -> None:
    found = {frames: peak_of(frames) for frames in (few, many)}
    ratio = round(found[many]["peak"] / found[few]["peak"], 4)
    more = {few: {}, many: {"peak_over_few": ratio, "bars": {"peak_over_few": bar(ratio, at_most=MOST_OVER_FEW)}}}
    for frames, peak in found.items():
        report(
            {
                "benchmark": "walk_memory",
                "model": "demo checkpoint",
                "batch": BATCH,
                "frames": frames,
                "peak_MB": round(peak["peak"] / 1e6, 1),
                "above_model_MB": round(peak["above"] / 1e6, 1),
                **more[frames],
            }
        )


if __name__ == "__main__":
    command_line(main, __doc__, measure=measure)
