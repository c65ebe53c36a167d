"""Video in parts: each is encoded by itself, and the finished parts are joined without encoding anything again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import torch
from torch import Tensor

from ...smooth_lora.files.whole import draft_of

CODEC, PIXEL_FORMAT = "h264", "yuv420p"
ENCODER_THREADS = 4  # whatever the machine has: the result depends on their number
MP4_OPTIONS = {"movflags": "use_metadata_tags"}  # as the host opens its videos, so that a workflow fits into one


@dataclass(frozen=True)
class VideoSettings:
    """Rate and quality of a video.

    rate: frames per second
    crf:  quality of H.264, 0 (lossless) to 51, lower is better
    """

    rate: Fraction
    crf: float

    @classmethod
    def of(cls, fps: float, crf: float) -> VideoSettings:
        """Rounds the frames per second to thousandths."""
        return cls(Fraction(round(fps * 1000), 1000), float(crf))


def encode_part(path: Path, frames: Tensor, settings: VideoSettings) -> None:
    """Writes frames as a video of their own, which can be decoded without any other.

    path:   there whole or not at all
    frames: [N, H, W, C] floats from 0 to 1, H and W even
    raises: OSError
    """
    with draft_of(path) as draft, av.open(str(draft), "w", format="mp4") as output:
        stream = output.add_stream(CODEC, rate=settings.rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.codec_context.thread_count = PIXEL_FORMAT, ENCODER_THREADS
        stream.options = {"crf": str(settings.crf)}
        for frame in frames:
            levels = (frame[..., :3].float() * 255).round().clamp(0, 255)
            pixels = levels.to("cpu", torch.uint8).contiguous().numpy()
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=PIXEL_FORMAT)))
        output.mux(stream.encode(None))


def join_parts(path: Path, parts: Sequence[tuple[Path, int]], rate: Fraction, metadata: Mapping[str, object]) -> None:
    """Writes one video of several parts made by `encode_part` with the same settings, in order.

    parts:    file and number of frames of each
    rate:     frames per second
    metadata: values by name, written as JSON
    raises:   OSError
    """
    with draft_of(path) as draft, av.open(str(draft), "w", format="mp4", options=MP4_OPTIONS) as output:
        for name, value in metadata.items():
            output.metadata[name] = json.dumps(value)
        stream, before = None, 0
        for part, frames in parts:
            with av.open(str(part)) as source:
                one = source.streams.video[0]
                stream = stream or output.add_stream_from_template(one)
                later = int(before / rate / one.time_base)
                for packet in source.demux(one):
                    if packet.dts is None:  # ends the stream
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + later, packet.dts + later, stream
                    output.mux(packet)
            before += frames
