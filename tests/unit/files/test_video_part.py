"""The records of a video's parts: exact, and refused where they are something else."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from smooth_lora.files.video_part import Part, read_part, write_part


def test_a_part_comes_back_bit_for_bit(tmp_path):
    frame = torch.rand(2, 3, 3).transpose(0, 1)
    write_part(Part(frame, [0.0, 0.1 + 0.2, 1e-300]), tmp_path / "0.safetensors")
    back = read_part(tmp_path / "0.safetensors")
    assert torch.equal(back.last, frame) and back.lengths == [0.0, 0.1 + 0.2, 1e-300]


def test_the_frame_of_a_finished_part_may_be_empty(tmp_path):
    write_part(Part(torch.empty(0), []), tmp_path / "0.safetensors")
    assert read_part(tmp_path / "0.safetensors").last.numel() == 0


@pytest.mark.parametrize(
    ("tensors", "form"),
    [
        ({"last": torch.ones(1), "lengths": torch.ones(1)}, "another"),
        ({"last": torch.ones(1)}, "Smooth Diffusion video part 1"),
    ],
)
def test_another_file_is_no_part(tmp_path, tensors, form):
    save_file(tensors, tmp_path / "0.safetensors", {"format": form})
    with pytest.raises(ValueError, match="^'0.safetensors' is no part of a video; queue the video again"):
        read_part(tmp_path / "0.safetensors")


def test_a_damaged_part_says_what_to_do(tmp_path):
    (tmp_path / "0.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="is empty .*; queue the video again, and it is rendered again$"):
        read_part(tmp_path / "0.safetensors")
