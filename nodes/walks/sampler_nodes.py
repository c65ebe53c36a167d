"""The nodes that render a walk, and that pace it."""

from __future__ import annotations

from ...smooth_lora.pacing.pacing_report import positions_text
from ...smooth_lora.walks.walk import MAX_FRAMES
from ..host.api import SHOWS_ITSELF, io
from ..host.node import Node
from ..host.types import CATEGORY, WALK
from ..page.blocked import blocked
from .even import METRICS, pace_walk, render_evenly
from .render import render_walk
from .shown import PLAYED, walk_shown
from .walk_wires import WalkWires

PACINGS = ("uniform", "even")
NO_VAE = "Walk Sampler: the images output needs a VAE; wire the vae of your checkpoint to the Walk Sampler."
EXTRA_FRAMES = (
    "Frames that may be rendered beside the walk's own to find out where it moves. 0: as many as the walk "
    "has, which takes twice the time."
)


def _metric_input(**more):
    return io.Combo.Input(
        "pace_by",
        options=list(METRICS),
        default=METRICS[0],
        tooltip="What changes evenly. pixels: the length of the difference, what ISTD measures. structure: SSIM. "
        "latents: without decoding what is not given out. early latents: half of the steps only, cheap, and "
        "blind to what is decided late.",
        **more,
    )


def _positions_outputs():
    return [
        WALK.Output(display_name="walk", tooltip="The walk with its frames where they were put."),
        io.String.Output(
            display_name="positions",
            tooltip="The same positions as text; in the widget positions of a Walk Schedule they give "
            "this walk again without looking for it.",
        ),
    ]


class SmoothWalkSampler(Node):
    """Samples and decodes a walk frame by frame, in chunks."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            **SHOWS_ITSELF,
            node_id="SmoothWalkSampler",
            display_name="Walk Sampler",
            category=CATEGORY,
            description="Renders every frame of a walk with any guider, sampler and schedule, in batches, so that "
            "memory does not grow with the number of frames. Noise and text are evaluated at the "
            "positions of the walk; the random step noise of ancestral and SDE samplers walks along.",
            search_aliases=["smooth diffusion", "seed travel", "latent walk", "interpolation", "morph", "ksampler"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Guider.Input(
                    "guider",
                    tooltip="Model, text and cfg, for example from CFGGuider. Text from a Prompt "
                    "Walk or Conditioning Walk moves with the frames.",
                ),
                io.Sampler.Input(
                    "sampler",
                    tooltip="Any sampler that treats each picture by itself; dpm_fast and "
                    "dpm_adaptive do not and are refused.",
                ),
                io.Sigmas.Input("sigmas", tooltip="The noise schedule, for example from BasicScheduler."),
                io.Noise.Input(
                    "noise", tooltip="From a Seed Walk or Noise Walk. A plain noise is the same in every frame."
                ),
                io.Latent.Input(
                    "latent_image",
                    tooltip="An empty latent gives the size; batch 1, or one per frame. A "
                    "batch_index in it chooses frame numbers.",
                ),
                WALK.Input("walk", tooltip="How many frames, and where along the walk each one lies."),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="Decodes each batch as soon as it is sampled. Without it only the latents come out.",
                ),
                io.Int.Input(
                    "frames_per_batch",
                    default=0,
                    min=0,
                    max=4096,
                    optional=True,
                    tooltip="Frames that go through the model together; 0 chooses from free memory. The "
                    "pictures do not depend on it.",
                ),
                io.Combo.Input(
                    "pacing",
                    options=list(PACINGS),
                    default=PACINGS[0],
                    optional=True,
                    tooltip="uniform: frames lie where the Walk Schedule puts them. even: they are moved "
                    "along the walk until neighbours differ equally; an easing then bends what is "
                    "seen.",
                ),
                _metric_input(optional=True),
                io.Int.Input("extra_frames", default=0, min=0, max=MAX_FRAMES, optional=True, tooltip=EXTRA_FRAMES),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The latents of all frames, in order."),
                io.Image.Output(display_name="images", tooltip="The frames, in order, if a VAE is wired."),
                io.String.Output(display_name="report", tooltip="What was walked, and how it was batched."),
                *_positions_outputs(),
            ],
        )

    @classmethod
    def execute(
        cls,
        guider,
        sampler,
        sigmas,
        noise,
        latent_image,
        walk,
        vae=None,
        frames_per_batch=0,
        pacing=PACINGS[0],
        pace_by=METRICS[0],
        extra_frames=0,
    ) -> io.NodeOutput:
        wires = WalkWires(guider, sampler, sigmas, noise, latent_image, walk, vae, frames_per_batch)
        shown = walk_shown(cls, wires)
        show = shown.add if shown else None
        if pacing == PACINGS[0]:
            done = render_walk(wires, show=show)
        else:
            done = render_evenly(wires, pace_by, extra_frames, show=show)
        images = blocked(NO_VAE) if vae is None else done.images
        frames_ui = {PLAYED: [shown.data(noise, done.walk)]} if shown else None
        return io.NodeOutput(done.latent, images, done.report, done.walk, positions_text(done.walk.frac), ui=frames_ui)


class SmoothPaceWalk(Node):
    """Moves the frames of a walk until its images change evenly."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SmoothPaceWalk",
            display_name="Pace Walk",
            category=CATEGORY,
            description="Looks where along a walk the pictures change, and puts the frames there, so that neighbours "
            "differ equally. For stock samplers, and to look once for a walk that is rendered often; the "
            "Walk Sampler can do it by itself, more exactly.",
            search_aliases=[
                "smooth diffusion",
                "even pacing",
                "constant speed",
                "equal steps",
                "retime",
                "interpolation speed",
                "arc length",
                "latent walk",
            ],
            inputs=[
                io.Guider.Input("guider", tooltip="As for the Walk Sampler."),
                io.Sampler.Input("sampler", tooltip="As for the Walk Sampler."),
                io.Sigmas.Input(
                    "sigmas",
                    tooltip="The noise schedule of the frames. A short one is quicker, but the "
                    "jumps of a walk lie elsewhere with another number of steps.",
                ),
                io.Noise.Input("noise", tooltip="From a Seed Walk or Noise Walk."),
                io.Latent.Input("latent_image", tooltip="An empty latent of batch 1."),
                WALK.Input("walk", tooltip="How many frames. Its easing says how fast the pictures change."),
                io.Vae.Input("vae", optional=True, tooltip="Needed to pace by pixels or structure."),
                _metric_input(),
                io.Int.Input(
                    "extra_frames",
                    default=0,
                    min=0,
                    max=MAX_FRAMES,
                    tooltip="Frames that may be rendered to find out where the walk moves. 0: as many as the walk has.",
                ),
                io.Int.Input(
                    "frames_per_batch", default=0, min=0, max=4096, optional=True, tooltip="As for the Walk Sampler."
                ),
            ],
            outputs=[
                *_positions_outputs(),
                io.String.Output(display_name="report", tooltip="How often it looked, and where it found jumps."),
            ],
        )

    @classmethod
    def execute(
        cls, guider, sampler, sigmas, noise, latent_image, walk, pace_by, extra_frames, vae=None, frames_per_batch=0
    ) -> io.NodeOutput:
        wires = WalkWires(guider, sampler, sigmas, noise, latent_image, walk, vae, frames_per_batch)
        done = pace_walk(wires, pace_by, extra_frames)
        return io.NodeOutput(done.walk, positions_text(done.walk.frac), done.report)


NODES = [SmoothWalkSampler, SmoothPaceWalk]
