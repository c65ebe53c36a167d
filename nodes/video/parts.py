"""Renders a walk straight into a video file, part by part: in constant memory, and going on where it was stopped."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from ...smooth_lora.files.video_part import PART_FRAMES, Part, read_part, write_part
from ...smooth_lora.scores.smoothness import from_distances, step_lengths
from ..host.folders import user_folder
from ..host.progress import WalkProgress
from ..walks.render import Job, frames_of, prepare, report, walk_units
from .file import encode_part, join_parts
from .key import walk_key


@dataclass(frozen=True)
class Written:
    """A finished video."""

    path: Path
    report: str


def walk_to_video(path: Path, metadata: Mapping[str, object], fps: float, crf: float, **walk_inputs) -> Written:
    """Render a walk into a video.

    path:        of the video; metadata: text that goes into it by name
    fps:         frames per second; crf: 0 (lossless) to 51
    walk_inputs: see `render.render_walk`; a VAE is needed
    raises:      ValueError for what cannot be rendered, or if the disk is full; the host's interrupt between model
                 calls. Finished parts are kept then, and the same inputs go on from there, also after a crash
    """
    rate = Fraction(round(fps * 1000), 1000)
    inputs = ("guider", "sampler", "sigmas", "noise", "latent", "walk", "vae", "frames_per_batch")
    job = prepare(*(walk_inputs[name] for name in inputs))
    key, known = walk_key(job, walk_inputs["sampler"], rate=str(rate), crf=float(crf))
    parts = _Parts(_folder() / key, job, rate, crf)
    if not known:
        parts.forget()
    try:
        done = parts.frames_done
        progress = WalkProgress(job.guider.model_patcher, walk_units(len(job.walk) - done, job.sigmas, decoded=True))
        lengths = parts.render(progress)
        path.parent.mkdir(parents=True, exist_ok=True)
        join_parts(path, parts.videos, parts.frames, rate, metadata)
    except OSError as error:
        raise ValueError(
            f"Walk to Video: could not write {path.name} or its parts ({error.strerror or error}); "
            f"{parts.frames_done} finished frames are kept: free some space and queue it again"
        ) from error
    kept = f", {done} of them from a run that was stopped" if done else ""
    text = [
        report(job, walk_inputs["noise"], walk_inputs["sampler"]),
        f"{len(job.walk)} frames at {float(rate):g} per second in {path.name}{kept}",
        _evenness(lengths, parts.size),
    ]
    if not known:
        text.append(
            "This graph holds objects that nothing tells from others after a restart: stopped, it would have "
            "begun anew."
        )
    parts.forget()
    return Written(path, "\n".join(text))


class _Parts:
    """The parts of a video in a folder of their own, in order. A part counts once its numbers are written, which comes
    last."""

    def __init__(self, folder: Path, job: Job, rate: Fraction, crf: float):
        self.folder, self._job, self._rate, self._crf = folder, job, rate, crf
        self._done: list[Part] = []
        self._each = -(-PART_FRAMES // job.batch) * job.batch  # whole chunks, so that frames do not depend on a stop
        self._read()

    @property
    def frames(self) -> list[int]:
        """Of each finished part."""
        return [len(part.lengths) for part in self._done]

    @property
    def frames_done(self) -> int:
        return sum(self.frames)

    @property
    def size(self) -> tuple[int, ...]:
        """Height, width and channels of the last picture."""
        return tuple(self._done[-1].last.shape)

    @property
    def videos(self) -> list[Path]:
        return [self._path(number, "mp4") for number in range(len(self._done))]

    def render(self, progress: WalkProgress) -> list[float]:
        """Render what is missing; one part is written while the next is rendered. Returns all step lengths."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(max_workers=1) as writer:
            writing: Future | None = None
            for start in range(self.frames_done, len(self._job.walk), self._each):
                images = self._frames(start, min(start + self._each, len(self._job.walk)), progress)
                if writing:
                    writing.result()
                writing = writer.submit(self._write, images)
            if writing:
                writing.result()
        return [length for part in self._done for length in part.lengths][1:]

    def forget(self) -> None:
        """Delete all parts."""
        self._done = []
        shutil.rmtree(self.folder, ignore_errors=True)

    def _frames(self, start: int, stop: int, progress: WalkProgress) -> Tensor:
        images = frames_of(self._job, start, stop, progress)
        if len(images) != stop - start:
            raise ValueError(
                f"Walk to Video: this model makes {len(images)} pictures where {stop - start} frames were "
                "asked for: it makes video itself; wire a guider of a model that makes single pictures, "
                "or use the Walk Sampler"
            )
        return images

    @torch.inference_mode()  # it holds for one thread only
    def _write(self, images: Tensor) -> None:
        number, before = len(self._done), self._done[-1].last[None] if self._done else images[:1]
        part = Part(images[-1].cpu().float(), step_lengths(torch.cat([before.to(images), images])))
        encode_part(self._path(number, "mp4"), images, self._rate, self._crf)
        write_part(part, self._path(number, "safetensors"))
        self._done.append(part)
        if number:  # the picture before this part is not needed any more
            self._done[-2] = replace(self._done[-2], last=torch.zeros(0))
            write_part(self._done[-2], self._path(number - 1, "safetensors"))

    def _read(self) -> None:
        with suppress(ValueError, OSError):
            while self._path(len(self._done), "mp4").is_file():
                self._done.append(read_part(self._path(len(self._done), "safetensors")))
        while self._done and not self._done[-1].last.numel():  # the part after it was damaged
            self._done.pop()

    def _path(self, number: int, ending: str) -> Path:
        return self.folder / f"{number:05}.{ending}"


def _folder() -> Path:
    return user_folder("videos")


def _evenness(lengths: list[float], size: tuple[int, ...]) -> str:
    if len(lengths) < 2:
        return "Too few frames to say how evenly they move."
    found = from_distances(lengths, size)
    if found.still:
        return "Nothing moves between the frames."
    return (
        f"Steps: mean {found.mean_distance:.4g}, ISTD {found.istd:.4g}, cv {found.cv:.3f}; the largest, "
        f"{found.max_over_mean:.2f} times the mean, from frame {found.largest} to {found.largest + 1}"
    )
