"""Every node of the pack, one module per family."""

from __future__ import annotations

import importlib
import importlib.util

from ._api import ComfyExtension, io

FAMILIES = ("lora", "walk", "sampler", "scores")


def family_nodes(family: str) -> list[type[io.ComfyNode]]:
    """The node classes that a family's module defines itself, in the order in which it defines them."""
    if importlib.util.find_spec(f".{family}", __package__) is None:
        return []
    module = importlib.import_module(f".{family}", __package__)
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    return [node for node in classes if issubclass(node, io.ComfyNode) and node.__module__ == module.__name__]


class SmoothDiffusion(ComfyExtension):
    """The pack as ComfyUI loads it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [node for family in FAMILIES for node in family_nodes(family)]


async def comfy_entrypoint() -> SmoothDiffusion:
    """Called by ComfyUI once, after the import."""
    return SmoothDiffusion()
