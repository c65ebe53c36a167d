"""How many frames go through the model and the VAE together when nobody says."""

from __future__ import annotations

from types import SimpleNamespace

import comfy.model_management
import pytest
import torch


@pytest.fixture
def memory(pack_module):
    return pack_module("nodes.host.memory_estimate")


@pytest.fixture
def model(memory, monkeypatch):
    """A model of 1000 bytes that needs 10 for each frame, on a device with so much free memory."""

    def make(free: int, device: str = "cpu"):
        monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda device: free)
        monkeypatch.setattr(
            memory.comfy.sampler_helpers, "estimate_memory", lambda model, shape, conds: (10 * shape[0], 5 * shape[0])
        )
        return SimpleNamespace(load_device=torch.device(device), model_size=lambda: 1000, loaded_size=lambda: 0)

    return make


@pytest.mark.parametrize(
    "shape, expected", [((4, 8, 8), 16), ((4, 32, 32), 4), ((4, 64, 64), 1), ((4, 128, 128), 1), ((16, 4, 32, 32), 1)]
)
def test_on_a_cpu_large_frames_go_alone(memory, model, shape, expected):
    assert memory.frames_per_batch(model(10**6), {}, shape, 100) == expected


@pytest.mark.parametrize(
    "free, extra, expected",
    [(10**6, 0, 16), (10**6, 2, 16), (1000 + 15 * 8, 0, 8), (1000 + 15 * 10, 2, 8), (1000 + 15 * 8, 2, 4), (500, 0, 1)],
)
def test_on_a_gpu_memory_decides(memory, model, free, extra, expected):
    assert memory.frames_per_batch(model(free, "cuda"), {}, (4, 64, 64), 100, extra=extra) == expected


def test_never_more_than_there_are(memory, model):
    assert memory.frames_per_batch(model(10**6, "cuda"), {}, (4, 64, 64), 3) == 3


@pytest.mark.parametrize(
    "device, shape, expected",
    [
        ("cpu", (16, 4, 8, 8), 16),
        ("cpu", (8, 4, 32, 32), 1),
        ("cpu", (8, 4, 16, 16), 4),
        ("cuda", (8, 4, 64, 64), 8),
        ("cpu", (2, 16, 5, 32, 32), 2),
    ],
)
def test_frames_per_decoding(memory, device, shape, expected):
    vae = SimpleNamespace(spacial_compression_decode=lambda: 8)
    assert memory.frames_per_decoding(vae, shape, torch.device(device)) == expected
