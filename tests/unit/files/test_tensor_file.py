"""Reading a LoRA file: every way in which it can be broken has its own sentence."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from smooth_lora.files.tensor_file import read_tensor_file

TENSORS = {
    "a.lora_up.weight": torch.arange(6.0).reshape(3, 2),
    "a.lora_down.weight": torch.ones(2, 4, dtype=torch.float16),
}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "whole.safetensors", metadata={"smooth_note": "hello"})
    return tmp_path / "whole.safetensors"


def test_tensors_metadata_and_hash(whole: Path):
    read = read_tensor_file(whole)
    assert read.tensors.keys() == TENSORS.keys()
    assert all(
        torch.equal(read.tensors[key], TENSORS[key]) and read.tensors[key].dtype == TENSORS[key].dtype
        for key in TENSORS
    )
    assert read.metadata == {"smooth_note": "hello"} and read.name == "whole.safetensors"
    assert read.sha256 == hashlib.sha256(whole.read_bytes()).hexdigest()


def test_what_was_read_outlives_the_file(whole: Path):
    read = read_tensor_file(whole)
    whole.write_bytes(b"\0" * whole.stat().st_size)
    assert torch.equal(read.tensors["a.lora_up.weight"], TENSORS["a.lora_up.weight"])


def header(entries: dict) -> bytes:
    raw = json.dumps(entries).encode()
    return struct.pack("<Q", len(raw)) + raw


BROKEN = {
    "empty": (b"", r"is empty \(0 bytes\); download or copy it again$"),
    "short": (b"\x10\0\0", "is not a safetensors file; download it again, or choose another LoRA$"),
    "text": (b"just some text, no tensors", "is not a safetensors file"),
    "page": (b"<!DOCTYPE html><html>", "is a web page; download the file again with the site's own download link$"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer, not the file itself"),
    "zip pickle": (b"PK\x03\x04" + b"\0" * 60, "is a zip archive or a pickled PyTorch file; convert it to safetensors"),
    "pickle": (
        pickle.dumps({"a": [1.0] * 9}),
        "is a pickled PyTorch file; convert it to safetensors, because a pickle can run code$",
    ),
    "gguf": (b"GGUF" + b"\0" * 20, "is a GGUF file"),
    "no json": (struct.pack("<Q", 9) + b"{nonsense", "has a damaged safetensors header; download or copy it again$"),
    "not a table": (struct.pack("<Q", 8) + b'{"a":42}', "has a damaged safetensors header"),
    "wild offset": (
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 10**9]}}),
        r"is cut off after \d+ of "
        r"1,000,000,\d+ bytes",
    ),
    "wrong shape": (header({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}) + b"\0" * 4, "is damaged"),
    "no tensors": (header({"__metadata__": {"a": "b"}}), "is a valid safetensors file but holds no tensors"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_in_one_sentence(case: str, tmp_path: Path):
    content, sentence = BROKEN[case]
    path = tmp_path / "my lora.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="^'sub/my lora.safetensors' .*" + sentence) as error:
        read_tensor_file(path, "sub/my lora.safetensors")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [12, 60, -1])
def test_a_truncated_file_says_how_much_is_missing(whole: Path, kept: int):
    content = whole.read_bytes()
    cut = whole.with_name("cut.safetensors")
    cut.write_bytes(content[:kept])
    with pytest.raises(
        ValueError, match=rf"^'cut.safetensors' is cut off after {len(content[:kept])} of \d+ bytes; download"
    ):
        read_tensor_file(cut)
