"""The real ComfyUI inside this very process: its modules, its nodes, and the pack loaded as it loads packs.

For tests and benchmarks that need host objects; whoever only needs pictures starts a server instead.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from types import ModuleType

from .layout import COMFY, DEMO_MODELS, PACK


def use_host(
    base: Path, comfy: Path = COMFY, models: Path | None = DEMO_MODELS, torch_attention: bool = False, cpu: bool = False
) -> None:
    """Make the host's modules importable, with its folders under `base`.

    comfy:  the host's own folder; models: one more folder of checkpoints/ and loras/
    torch_attention: torch's own attention also on a CPU, where the host has another
    cpu:    even where there is a GPU
    The host goes first on sys.path: its nodes.py and our nodes/ have one name. Its options are read once,
    when its modules are imported, so they are set before.
    raises: FileNotFoundError when the host has not been made
    """
    if not (comfy / "main.py").is_file():
        raise FileNotFoundError("the real ComfyUI is missing: run `python install.py host`")
    sys.path[:] = [str(comfy), *(p for p in sys.path if p != str(comfy))]
    import torch
    from comfy.cli_args import args

    args.cpu = cpu or not torch.cuda.is_available()
    args.base_directory = str(base)
    args.use_pytorch_cross_attention = torch_attention
    args.disable_api_nodes = True
    import folder_paths
    import utils.extra_config  # noqa: F401 - first, as main.py does: older hosts then put another `utils` before it

    import nodes as host_nodes

    if Path(host_nodes.__file__).parent.resolve() != comfy.resolve():
        raise ImportError(f"`nodes` is {host_nodes.__file__}, not ComfyUI's; start Python in another folder")
    for kind in ("checkpoints", "loras") if models is not None else ():
        folder_paths.add_model_folder_path(kind, str(models / kind))
    for name in ("custom_nodes", "input", "output", "temp", "user"):
        (base / name).mkdir(parents=True, exist_ok=True)


class HostPack:
    """The pack inside the host; needs use_host first.

    raises: ImportError when the host cannot load the pack (its log says why)
    """

    def __init__(self):
        import nodes as host_nodes

        self._nodes = host_nodes.NODE_CLASS_MAPPINGS
        if not asyncio.run(host_nodes.load_custom_node(str(PACK))):
            raise ImportError("the host could not load the pack; its log above says why")
        self.root: ModuleType = sys.modules[str(PACK).replace(".", "_x_")]

    def node(self, node_id: str) -> type:
        """A node's class by its id, ours or the host's."""
        return self._nodes[node_id]

    def module(self, name: str) -> ModuleType:
        """One of the pack's modules by its dotted name, for example "nodes.walks.render"."""
        return importlib.import_module(f"{self.root.__name__}.{name}")

    def run(self, node_id: str, **inputs) -> tuple:
        """Execute one of our nodes, widgets that are not named at their defaults; returns its outputs."""
        node = self.node(node_id)
        schema = node.GET_SCHEMA()
        defaults = {
            given.id: [given.default] if schema.is_input_list else given.default
            for given in schema.inputs
            if getattr(given, "default", None) is not None
        }
        return node.execute(**{**defaults, **inputs}).result
