"""Encoded pictures and texts on disk: they come back as they were, or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from smooth_lora.files.encoded_cache import EncodedCache

KEY = hashlib.sha256(b"one").hexdigest()
TEXT = [[torch.randn(1, 77, 8, dtype=torch.float16), {"pooled_output": torch.randn(1, 8), "width": 64, "none": None}]]


@pytest.mark.parametrize("value", [torch.randn(1, 4, 8, 8), TEXT], ids=["picture", "text"])
def test_it_comes_back_bit_for_bit(tmp_path: Path, value):
    assert EncodedCache(tmp_path, 1 << 20).put(KEY, value)
    found = EncodedCache(tmp_path, 1 << 20).get(KEY)
    if isinstance(value, torch.Tensor):
        assert torch.equal(found, value)
        return
    assert torch.equal(found[0][0], TEXT[0][0]) and found[0][0].dtype == torch.float16
    assert torch.equal(found[0][1].pop("pooled_output"), TEXT[0][1]["pooled_output"])
    assert found[0][1] == {"width": 64, "none": None}


def test_what_a_file_cannot_hold_or_has_no_room_is_not_stored(tmp_path: Path):
    cache = EncodedCache(tmp_path, 1 << 20)
    assert not cache.put(KEY, [[torch.ones(1), {"control": object()}]]) and cache.get(KEY) is None
    assert not EncodedCache(tmp_path, 1000).put(KEY, TEXT)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-5]),
        lambda path: path.write_bytes(b""),
        lambda path: save_file({"text.0": torch.ones(1)}, path, {"format": "Smooth Diffusion encoded 1"}),
        lambda path: save_file({"text.0": torch.ones(1)}, path, {"format": "Smooth Diffusion encoded 1", "value": "{"}),
        lambda path: save_file(
            {"text.0": torch.ones(1)}, path, {"format": "Smooth Diffusion encoded 1", "value": '{"$tensor": "text.7"}'}
        ),
        lambda path: save_file({"text.0": torch.ones(1)}, path, {"format": "another"}),
    ],
    ids=["cut", "empty", "no value", "no JSON", "no such tensor", "format"],
)
def test_a_damaged_file_counts_as_missing_and_goes(tmp_path: Path, damage):
    cache = EncodedCache(tmp_path, 1 << 20)
    cache.put(KEY, TEXT)
    (path,) = tmp_path.iterdir()
    damage(path)
    assert cache.get(KEY) is None and not list(tmp_path.iterdir())
