"""The node that turns a walk into frames."""

from ._api import io
from .adapters.outputs import blocked
from .adapters.render import render_walk


class SmoothWalkSampler(io.ComfyNode):
    """Samples and decodes a walk frame by frame, in chunks."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SmoothWalkSampler",
            display_name="Walk Sampler",
            category="Smooth Diffusion",
            description="Renders every frame of a walk with any guider, sampler and schedule, in batches, so that "
                        "memory does not grow with the number of frames. Noise and text are evaluated at the "
                        "positions of the walk; the random step noise of ancestral and SDE samplers walks along.",
            search_aliases=["smooth diffusion", "seed travel", "latent walk", "interpolation", "morph", "ksampler"],
            inputs=[
                io.Guider.Input("guider", tooltip="Model, text and cfg, for example from CFGGuider. Text from a Prompt "
                                                  "Walk or Conditioning Walk moves with the frames."),
                io.Sampler.Input("sampler", tooltip="Any sampler that treats each picture by itself; dpm_fast and "
                                                    "dpm_adaptive do not and are refused."),
                io.Sigmas.Input("sigmas", tooltip="The noise schedule, for example from BasicScheduler."),
                io.Noise.Input("noise", tooltip="From a Seed Walk or Noise Walk. A plain noise is the same in every "
                                                "frame."),
                io.Latent.Input("latent_image", tooltip="An empty latent gives the size; batch 1, or one per frame. A "
                                                        "batch_index in it chooses frame numbers."),
                io.Custom("SMOOTH_WALK").Input("walk", tooltip="How many frames, and where along the walk each one "
                                                               "lies."),
                io.Vae.Input("vae", optional=True, tooltip="Decodes each batch as soon as it is sampled. Without it "
                                                           "only the latents come out."),
                io.Int.Input("frames_per_batch", default=0, min=0, max=4096, optional=True,
                             tooltip="Frames that go through the model together; 0 chooses from free memory. The "
                                     "pictures do not depend on it."),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The latents of all frames, in order."),
                io.Image.Output(display_name="images", tooltip="The frames, in order, if a VAE is wired."),
                io.String.Output(display_name="report", tooltip="What was walked, and how it was batched."),
            ],
        )

    @classmethod
    def execute(cls, guider, sampler, sigmas, noise, latent_image, walk, vae=None,
                frames_per_batch=0) -> io.NodeOutput:
        done = render_walk(guider=guider, sampler=sampler, sigmas=sigmas, noise=noise, latent=latent_image, walk=walk,
                           vae=vae, frames_per_batch=frames_per_batch)
        images = done.images if vae is not None else blocked(
            "Walk Sampler: the images output needs a VAE; wire the vae of your checkpoint to the Walk Sampler.")
        return io.NodeOutput(done.latent, images, done.report)


NODES = [SmoothWalkSampler]
