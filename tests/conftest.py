"""What host and page tests share: one real server for the whole run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.demo import draw_training_pictures
from devtools.layout import COMFY, DEMO_MODELS, PACK, venv_python
from devtools.machine import described
from devtools.server import Client, Server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-snapshot",
        action="store_true",
        help="write the nodes' ids, inputs and outputs to tests/host/snapshot.json",
    )


def pytest_report_header() -> str:
    """The processor and the threads of this run: rounding differs from one to the next."""
    import torch

    return f"computed on: {described(torch.get_num_threads())}"


@pytest.fixture(scope="session")
def comfy_root() -> Path:
    """The real ComfyUI; its absence is a failure, never a skip."""
    if not (COMFY / "main.py").is_file() or not venv_python().is_file():
        pytest.fail("the real ComfyUI is missing: run `python install.py host`, or `python install.py test`")
    return COMFY


@pytest.fixture(scope="session")
def demo_models() -> Path:
    """The folder with the demo checkpoint (checkpoints/) and its Smooth-LoRA (loras/)."""
    if not list(DEMO_MODELS.glob("checkpoints/*.safetensors")):
        pytest.fail("the demo checkpoint is missing: run `python install.py test`, which assembles it")
    return DEMO_MODELS


@pytest.fixture(scope="session")
def server(comfy_root: Path) -> Iterator[Server]:
    """A running ComfyUI with this pack, shared by all tests; start one of your own to change its options."""
    with Server() as running:
        draw_training_pictures(running.input)
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> Client:
    """A client of the shared server."""
    return server.client


@pytest.fixture(scope="session")
def node_ids() -> list[str]:
    """The ids of all our nodes, as the snapshot has them."""
    return sorted(json.loads((PACK / "tests/host/snapshot.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def pack_root() -> Path:
    """The pack's own folder."""
    return PACK
