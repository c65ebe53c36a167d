"""The host's own Python modules inside the test process, and the pack loaded the way the host loads it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import demo_scene
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
    """Import one of the pack's modules by its dotted name, such as pack_module("nodes.walks.render")."""
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


@pytest.fixture
def sent(pack_module, tmp_path, monkeypatch) -> list[tuple]:
    """The events that a connected page is sent; the host's temp folder is the test's own."""
    events: list[tuple] = []
    server = SimpleNamespace(client_id="page", send_sync=lambda *event: events.append(event))
    monkeypatch.setattr(pack_module("nodes.page.page"), "PromptServer", SimpleNamespace(instance=server))
    monkeypatch.setattr("folder_paths.get_temp_directory", lambda: str(tmp_path / "temp"))
    return events


@pytest.fixture(scope="session")
def on_page(node) -> Callable[[str], Callable]:
    """on_page(id): the execute of a node that a page has queued as its node 7."""

    def run(name: str) -> Callable:
        queued = type("Queued", (node(name),), {"hidden": SimpleNamespace(unique_id="7")})
        return lambda **wires: queued.execute.__func__(queued, **wires)

    return run


@pytest.fixture(scope="module")
def checkpoint(demo_models, node) -> tuple:
    """The demo checkpoint: MODEL, CLIP and VAE."""
    with torch.inference_mode():
        return node("CheckpointLoaderSimple")().load_checkpoint("smooth_demo.safetensors")


@pytest.fixture(scope="module")
def demo(demo_models, host_pack: HostPack) -> SimpleNamespace:
    """The demo checkpoint with two pictures and their texts, see tests/support/demo_scene.py."""
    return demo_scene.load(host_pack)
