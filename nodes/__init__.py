"""Every node of the pack, one module per family."""

from __future__ import annotations

from . import attention, inversion, lora, replay, sampler, scores, train_data, training, video, walk
from ._api import ComfyExtension, io

FAMILIES = (lora, attention, walk, sampler, video, scores, inversion, replay, train_data, training)
NODES: list[type[io.ComfyNode]] = [node for family in FAMILIES for node in family.NODES]


class SmoothDiffusion(ComfyExtension):
    """The pack as ComfyUI loads it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return list(NODES)


async def comfy_entrypoint() -> SmoothDiffusion:
    """Called by ComfyUI once, after the import."""
    return SmoothDiffusion()
