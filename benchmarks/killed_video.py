"""A video walk killed again and again, held bit for bit against an unbroken one.

The real server renders a walk of the demo checkpoint into a file with Walk to Video. It is killed (SIGKILL) as soon as
one more part than before is finished, and started again with the same prompt, so many times. Then it may end, and
another server renders the walk without a break; the two files are compared byte by byte.

    .host/venv/bin/python -m benchmarks.killed_video [frames] [kills]
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

from devtools.server import Server

from ._bars import bar
from ._bench import command_line, report

STEPS, HOUR = 2, 3600.0
OUTPUT = "smooth_diffusion/walk_00001_.mp4"


def prompt(frames: int) -> dict:
    """The walk as an API prompt."""

    def node(name: str, **inputs) -> dict:
        return {"class_type": name, "inputs": inputs}

    return {
        "1": node("CheckpointLoaderSimple", ckpt_name="smooth_demo.safetensors"),
        "2": node("CLIPTextEncode", clip=["1", 1], text="a red circle on a blue background"),
        "3": node("CLIPTextEncode", clip=["1", 1], text=""),
        "4": node("CFGGuider", model=["1", 0], positive=["2", 0], negative=["3", 0], cfg=3.0),
        "5": node("SmoothSeedWalk", seeds="12, 99, 7", path="slerp"),
        "6": node(
            "SmoothWalkSchedule",
            frames=frames,
            easing="linear",
            easing_over="whole walk",
            loop=False,
            first_frame=0,
            last_frame=-1,
            positions="",
        ),
        "7": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "8": node("KSamplerSelect", sampler_name="euler"),
        "9": node("BasicScheduler", model=["1", 0], scheduler="normal", steps=STEPS, denoise=1.0),
        "10": node(
            "SmoothWalkToVideo",
            guider=["4", 0],
            sampler=["8", 0],
            sigmas=["9", 0],
            noise=["5", 0],
            latent_image=["7", 0],
            walk=["6", 0],
            vae=["1", 2],
            fps=24.0,
            crf=18.0,
            filename_prefix="smooth_diffusion/walk",
            frames_per_batch=8,
        ),
    }


def killed(base: Path, frames: int, kills: int) -> list[int]:
    """Render it in this base folder, killed so often. Returns how many parts each killed server left."""
    left: list[int] = []
    for number in range(1, kills + 1):
        with Server(base=base) as server:
            server.client.queue(prompt(frames))
            deadline = time.monotonic() + HOUR
            while len(list(base.glob("user/**/videos/*/*.safetensors"))) < number:
                if time.monotonic() > deadline or (base / "output" / OUTPUT).exists():
                    raise TimeoutError(f"the server wrote no part {number} before it ended, or the walk is too short")
                time.sleep(0.05)
            os.kill(server.pid, signal.SIGKILL)
            server.wait()
        left.append(len(list(base.glob("user/**/videos/*/*.safetensors"))))
    return left


def video(base: Path, frames: int) -> bytes:
    """Render it to the end in this base folder."""
    with Server(base=base) as server:
        server.client.run(prompt(frames), timeout=HOUR)
    return (base / "output" / OUTPUT).read_bytes()


def main(frames: int = 500, kills: int = 3) -> dict:
    """Returns what is reported."""
    with (
        tempfile.TemporaryDirectory(prefix="smooth-killed-") as broken,
        tempfile.TemporaryDirectory(prefix="smooth-whole-") as whole,
    ):
        left = killed(Path(broken), frames, kills)
        found = video(Path(broken), frames) == video(Path(whole), frames)
        said = {
            "benchmark": "killed_video",
            "frames": frames,
            "steps": STEPS,
            "kills": kills,
            "parts_left": left,
            "bit_equal": found,
            "bars": {"bit_equal": bar(found, equals=True)},
        }
    report(said)
    return said


if __name__ == "__main__":
    command_line(main, __doc__)
