"""Memory must not grow with the number of frames."""

from __future__ import annotations

import sys

import pytest

from benchmarks.walk_memory import peak_of


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's high-water mark, which Linux alone keeps")
def test_ten_times_the_frames_take_the_same_memory(demo_models):
    """Peak beyond the frames themselves, 240 frames against 24."""
    few, many = peak_of(24)["peak"], peak_of(240)["peak"]
    assert many < 1.05 * few
