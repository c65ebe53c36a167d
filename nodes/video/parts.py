"""Renders a walk straight into a video file, part by part: in constant memory, and going on where it was stopped."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ...smooth_lora.files.video_part import PART_FRAMES, Part, read_part, write_part
from ...smooth_lora.pacing.pacing_report import steps_text
from ...smooth_lora.scores.smoothness import step_lengths
from ...smooth_lora.walks.walk_report import video_report
from ..host.folders import user_folder
from ..host.progress import WalkProgress
from ..walks.job import RenderJob, prepare
from ..walks.render import Renderer
from ..walks.walk_wires import WalkWires
from .file import VideoSettings, encode_part, join_parts
from .key import walk_key


@dataclass(frozen=True)
class WrittenVideo:
    """A finished video, and what was rendered for it."""

    path: Path
    report: str


def walk_to_video(
    wires: WalkWires, path: Path, settings: VideoSettings, metadata: Mapping[str, object] | None = None
) -> WrittenVideo:
    """Renders a walk into a video.

    wires:    with a VAE
    path:     of the video
    metadata: values that go into it by name, as JSON
    raises:   ValueError for what cannot be rendered, or if the disk is full; the host's interrupt between model
              calls. Finished parts are kept then, and the same inputs go on from there, also after a crash
    """
    job = prepare(wires)
    key, known = walk_key(job, rate=str(settings.rate), crf=settings.crf)
    parts = _Parts(user_folder("videos") / key, job, settings)
    if not known:
        parts.forget()
    done = parts.frames_done
    renderer = Renderer(job.batch, WalkProgress(wires.guider.model_patcher, wires.units(len(job.walk) - done)))
    try:
        lengths = parts.render(renderer)
        path.parent.mkdir(parents=True, exist_ok=True)
        join_parts(path, parts.videos, settings.rate, metadata or {})
    except OSError as error:
        raise ValueError(
            f"Walk to Video: could not write {path.name} or its parts ({error.strerror or error}); "
            f"{parts.frames_done} finished frames are kept: free some space and queue it again"
        ) from error
    video = video_report(
        path.name,
        frames=len(job.walk),
        frames_per_second=float(settings.rate),
        steps=steps_text(lengths, parts.size),
        resumed_frames=done,
        resumable=known,
    )
    parts.forget()
    return WrittenVideo(path, f"{renderer.report(job)}\n{video}")


class _Parts:
    """The parts of a video in a folder of their own, in order. A part counts once its numbers are written, which is
    done last."""

    def __init__(self, folder: Path, job: RenderJob, settings: VideoSettings):
        self.folder, self._job, self._settings = folder, job, settings
        self._done: list[Part] = []
        self._each = -(-PART_FRAMES // job.batch) * job.batch  # whole chunks, so that frames do not depend on a stop
        self._read()

    @property
    def frames_done(self) -> int:
        """Frames of all finished parts."""
        return sum(len(part.lengths) for part in self._done)

    @property
    def size(self) -> tuple[int, ...]:
        """Height, width and channels of the last image."""
        return tuple(self._done[-1].last.shape)

    @property
    def videos(self) -> list[tuple[Path, int]]:
        """File and number of frames of each finished part."""
        return [(self._path(number, "mp4"), len(part.lengths)) for number, part in enumerate(self._done)]

    def render(self, renderer: Renderer) -> list[float]:
        """Renders what is missing, writing one part while the next is rendered, and returns all step lengths."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(max_workers=1) as writer:
            writing: Future | None = None
            for start in range(self.frames_done, len(self._job.walk), self._each):
                images = self._frames(start, min(start + self._each, len(self._job.walk)), renderer)
                if writing:
                    writing.result()
                writing = writer.submit(self._write, images)
            if writing:
                writing.result()
        return [length for part in self._done for length in part.lengths][1:]

    def forget(self) -> None:
        """Deletes all parts."""
        self._done = []
        shutil.rmtree(self.folder, ignore_errors=True)

    def _frames(self, start: int, stop: int, renderer: Renderer) -> Tensor:
        images = renderer.images(self._job, start, stop)
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
        encode_part(self._path(number, "mp4"), images, self._settings)
        write_part(part, self._path(number, "safetensors"))
        self._done.append(part)
        if number:  # the image before this part is not needed any more
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
