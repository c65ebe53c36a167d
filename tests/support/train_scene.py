"""A batch of two pictures on the host's network, ready to be trained, and the gradient of their loss."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor

SIGMAS = torch.tensor([0.7, 12.0], dtype=torch.float64)
RANK = 8


def pairs_of(pack_module, network, targets: str = "attention") -> dict:
    """Pairs that add something."""
    shapes = pack_module("nodes.training.targets").target_shapes(network, targets)
    with torch.inference_mode(False):
        pairs = pack_module("smooth_lora.training.trained_pairs").new_pairs(shapes, RANK, seed=0)
        generator = torch.Generator().manual_seed(9)
        for pair in pairs.values():
            pair.up.data.copy_(torch.randn(pair.up.shape, generator=generator) * 0.02)
        return pairs


def on_the_network(
    pack_module,
    scene: SimpleNamespace,
    job: Callable,
    *,
    model=None,
    estimator: str = "first_order",
    low_memory: bool = False,
    targets: str = "attention",
) -> dict:
    """The pairs, after job(network, sample, scale) with the model loaded.

    scene: see demo_scene.load; model: another one than the scene's
    """
    model = model or scene.model
    scale = pack_module("nodes.model.latent_space").scale_of(model)
    gradients, data = pack_module("smooth_lora.training.estimators"), pack_module("smooth_lora.training.draws")
    pairs = pairs_of(pack_module, model.model.diffusion_model, targets)
    rows = [data.draw_row(0, row, (4, 8, 8), levels=1000, empty_share=0.0) for row in range(2)]

    def with_sample(network):
        x0 = model.model.process_latent_in(scene.both).clone()
        job(
            network,
            gradients.TrainingSample(
                x0,
                torch.stack([row.eps for row in rows]),
                SIGMAS,
                torch.stack([row.probe for row in rows]),
                gradients.base_share(SIGMAS, scale),
            ),
            scale,
        )

    pack_module("nodes.training.network").run_on_network(
        model,
        [scene.first, scene.second],
        pairs,
        with_sample,
        empty=scene.empty,
        shape=(2, 4, 8, 8),
        estimator=estimator,
        low_memory=low_memory,
    )
    return pairs


def gradient(pack_module, scene: SimpleNamespace, estimator: str, step: float | None = None, **more) -> Tensor:
    """Of the loss by all pairs, flat, float64."""

    def job(network, sample, scale):
        pack_module("smooth_lora.training.estimators").accumulate(
            estimator,
            network.denoiser_for([0, 1], [False, False]),
            sample,
            scale,
            weight=1.0,
            mean_of=lambda r: 0.5 * r.mean(),
            step=step,
        )

    pairs = on_the_network(pack_module, scene, job, estimator=estimator, **more)
    return torch.cat([weight.grad.flatten() for pair in pairs.values() for weight in (pair.down, pair.up)]).double()
