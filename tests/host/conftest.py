"""The host's own Python modules inside the test process, and the pack loaded the way the host loads it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from devtools.in_process import HostPack, use_host

# At import, not in a fixture: test modules import the host's modules at their top. Removed when Python ends.
_BASE = tempfile.TemporaryDirectory(prefix="smooth-in-process-")
use_host(Path(_BASE.name))


@pytest.fixture(scope="session")
def host_pack() -> HostPack:
    """The pack, imported by the host's own loader."""
    return HostPack()


@pytest.fixture(scope="session")
def pack(host_pack: HostPack) -> ModuleType:
    """The pack's root module."""
    return host_pack.root


@pytest.fixture(scope="session")
def pack_module(host_pack: HostPack) -> Callable[[str], ModuleType]:
    """Import one of the pack's modules by its dotted name, such as pack_module("nodes.adapters.render")."""
    return host_pack.module


@pytest.fixture(scope="session")
def node(host_pack: HostPack) -> Callable[[str], type]:
    """A node's class by its id, ours or the host's, for example node("SmoothSeedWalk").execute(...)."""
    return host_pack.node


@pytest.fixture
def as_the_host_runs_nodes() -> Iterator[None]:
    """Torch's inference mode."""
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def checkpoint(demo_models, node) -> tuple:
    """The demo checkpoint: MODEL, CLIP and VAE."""
    with torch.inference_mode():
        return node("CheckpointLoaderSimple")().load_checkpoint("smooth_demo.safetensors")


@pytest.fixture(scope="module")
def demo(demo_models, host_pack: HostPack) -> SimpleNamespace:
    """The demo checkpoint with two pictures and their texts, see tests/demo_scene.py."""
    import demo_scene  # not at the top: it looks into the host's folders last

    return demo_scene.load(host_pack)
