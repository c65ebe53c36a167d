"""The frames of a walk side by side."""

from __future__ import annotations

from pathlib import Path

import torch

from smooth_lora.drawing.strip import MAX_STRIP_HEIGHT, load_strip, save_strip, strip_of


def test_small_frames_stand_side_by_side_as_they_are():
    frames = torch.rand(5, 8, 6, 3)
    strip = strip_of(frames)
    assert strip.shape == (1, 8, 30, 3)
    assert all(torch.equal(strip[0, :, 6 * k : 6 * k + 6], frames[k]) for k in range(5))


def test_large_frames_are_made_smaller_in_proportion():
    strip = strip_of(torch.full((3, 512, 768, 3), 0.25))
    assert strip.shape == (1, MAX_STRIP_HEIGHT, 3 * 192, 3)
    torch.testing.assert_close(strip, torch.full_like(strip, 0.25))


def test_a_file_gives_back_what_eight_bits_hold(tmp_path: Path):
    strip, path = strip_of(torch.rand(2, 8, 8, 3)), tmp_path / "strip.png"
    save_strip(strip, path)
    assert (load_strip(path) - strip).abs().max() <= 0.5 / 255 + 1e-6
    assert [file.name for file in tmp_path.iterdir()] == ["strip.png"]


def test_no_file_or_a_damaged_one_is_none(tmp_path: Path):
    assert load_strip(tmp_path / "none.png") is None
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    assert load_strip(tmp_path / "broken.png") is None
