"""Every node of the pack, a room for each family."""

from __future__ import annotations

from .attention import nodes as attention
from .host.api import ComfyExtension, io
from .host.folders import remove_old_drafts
from .inversion import nodes as inversion
from .inversion import replay_nodes as replay
from .lora import nodes as lora
from .scores import nodes as scores
from .training import data_nodes as train_data
from .training import nodes as training
from .video import nodes as video
from .walks import nodes as walk
from .walks import sampler_nodes as sampler
from .walks import text_nodes as text

FAMILIES = (lora, attention, walk, text, sampler, video, scores, inversion, replay, train_data, training)
NODES: list[type[io.ComfyNode]] = [node for family in FAMILIES for node in family.NODES]


class SmoothDiffusion(ComfyExtension):
    """The pack as ComfyUI loads it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return list(NODES)


async def comfy_entrypoint() -> SmoothDiffusion:
    """Returns the pack; ComfyUI calls it once, after the import."""
    remove_old_drafts()
    return SmoothDiffusion()
