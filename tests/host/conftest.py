"""The host's own Python modules inside the test process, and the pack loaded the way the host loads it."""

from __future__ import annotations

import asyncio
import importlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from devtools.layout import COMFY, DEMO_MODELS, PACK

if not (COMFY / "main.py").is_file():
    raise pytest.UsageError("the real ComfyUI is missing: run `python install.py host`, or `python install.py test`")

# The host's nodes.py and our nodes/ have one name: the host has to stand first, before anything imports it.
sys.path.insert(0, str(COMFY))
_BASE = tempfile.TemporaryDirectory(prefix="smooth-in-process-")


def _set_host_options() -> None:
    import torch
    from comfy.cli_args import args

    # All three are read once, when the host's modules are imported.
    args.cpu = not torch.cuda.is_available()
    args.base_directory = _BASE.name
    args.disable_api_nodes = True


_set_host_options()
import folder_paths  # noqa: E402
import nodes as host_nodes  # noqa: E402

if Path(host_nodes.__file__).parent != COMFY:
    raise pytest.UsageError(f"`nodes` is {host_nodes.__file__}, not ComfyUI's")
for _kind in ("checkpoints", "loras"):
    folder_paths.add_model_folder_path(_kind, str(DEMO_MODELS / _kind))


@pytest.fixture(scope="session", autouse=True)
def _host_folders() -> Iterator[None]:
    for name in ("custom_nodes", "input", "output", "temp", "user"):
        (Path(_BASE.name) / name).mkdir(exist_ok=True)
    yield
    _BASE.cleanup()


@pytest.fixture(scope="session")
def pack() -> ModuleType:
    """The pack's root module, imported by the host's own loader."""
    if not asyncio.run(host_nodes.load_custom_node(str(PACK))):
        pytest.fail("the host could not load the pack; its log above says why")
    return sys.modules[str(PACK).replace(".", "_x_")]


@pytest.fixture(scope="session")
def pack_module(pack: ModuleType) -> Callable[[str], ModuleType]:
    """Import one of the pack's modules by its dotted name, for example pack_module("nodes.adapters.render")."""
    return lambda name: importlib.import_module(f"{pack.__name__}.{name}")


@pytest.fixture(scope="session")
def node(pack: ModuleType) -> Callable[[str], type]:
    """A node's class by its id, ours or the host's, for example node("SmoothSeedWalk").execute(...)."""
    return lambda node_id: host_nodes.NODE_CLASS_MAPPINGS[node_id]
