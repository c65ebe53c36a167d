"""The node that turns a long walk into a video file."""

from __future__ import annotations

from ..host.api import io
from ..host.node import Node
from ..host.types import CATEGORY, WALK
from ..walks.walk_wires import WalkWires
from .file import VideoSettings
from .output import save_video


class SmoothWalkToVideo(Node):
    """Renders a walk into a video, part by part."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SmoothWalkToVideo",
            display_name="Walk to Video",
            category=CATEGORY,
            description="Renders a walk of any length straight into a video file, in the memory of one batch. A run "
            "that was stopped, or crashed, goes on from its last finished part when it is queued again.",
            search_aliases=["smooth diffusion", "long video", "save video", "stream", "resume", "latent walk", "mp4"],
            is_output_node=True,
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            inputs=[
                io.Guider.Input("guider", tooltip="As for the Walk Sampler."),
                io.Sampler.Input("sampler", tooltip="As for the Walk Sampler."),
                io.Sigmas.Input("sigmas", tooltip="As for the Walk Sampler."),
                io.Noise.Input("noise", tooltip="From a Seed Walk or Noise Walk."),
                io.Latent.Input("latent_image", tooltip="As for the Walk Sampler."),
                WALK.Input("walk", tooltip="How many frames, and where. For an even pace take it from Pace Walk."),
                io.Vae.Input("vae", tooltip="Decodes the frames."),
                io.Float.Input(
                    "fps", default=24.0, min=0.1, max=240.0, step=0.1, round=0.001, tooltip="Frames per second."
                ),
                io.Float.Input(
                    "crf",
                    default=18.0,
                    min=0.0,
                    max=51.0,
                    step=1.0,
                    tooltip="Quality of the H.264 video: lower is better and larger, 0 loses nothing but "
                    "what colours at half the size lose.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="smooth_diffusion/walk",
                    tooltip="Of the file in the output folder; folders before it are made.",
                ),
                io.Int.Input(
                    "frames_per_batch",
                    default=0,
                    min=0,
                    max=4096,
                    optional=True,
                    tooltip="Frames that go through the model together; 0 chooses from free memory. To go on "
                    "with a stopped run, leave it as it was.",
                ),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="The finished file."),
                io.String.Output(
                    display_name="report", tooltip="What was rendered, how evenly it moves, and where it moves most."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, guider, sampler, sigmas, noise, latent_image, walk, vae, fps, crf, filename_prefix, frames_per_batch=0
    ) -> io.NodeOutput:
        wires = WalkWires(guider, sampler, sigmas, noise, latent_image, walk, vae, frames_per_batch)
        saved = save_video(cls, wires, filename_prefix, VideoSettings.of(fps, crf))
        return io.NodeOutput(saved.video, saved.report, ui=saved.ui)


NODES = [SmoothWalkToVideo]
