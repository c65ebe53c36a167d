"""A video walk on the real server, killed without warning."""

from __future__ import annotations

import pytest

from benchmarks.killed_video import main


@pytest.mark.full
@pytest.mark.usefixtures("demo_models")
def test_it_ends_bit_for_bit_as_an_unbroken_one():
    """Of 100 frames, which are three parts; `python -m benchmarks.killed_video` does it with 500 and three kills."""
    said = main(frames=100, kills=1)
    assert said["parts_left"][0] in (1, 2) and said["bit_equal"]
