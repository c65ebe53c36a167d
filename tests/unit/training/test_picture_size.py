"""The sizes that training pictures are cut to."""

from __future__ import annotations

import pytest

from smooth_lora.training.sizes import LARGEST_RATIO, SIDE_STEP, nearest_size


@pytest.mark.parametrize(
    ("height", "width", "side", "size"),
    [
        (512, 512, 512, (512, 512)),
        (37, 37, 512, (512, 512)),
        (1024, 1024, 1024, (1024, 1024)),
        (600, 400, 512, (640, 384)),
        (400, 600, 512, (384, 640)),
        (1080, 1920, 512, (384, 640)),
        (64, 64, 64, (64, 64)),
        (100, 10_000, 512, (256, 768)),
        (300, 900, 128, (64, 192)),
        (64, 300, 64, (64, 64)),
    ],
)
def test_sizes_by_hand(height, width, side, size):
    assert nearest_size(height, width, side) == size


def test_every_size_is_on_the_grid_of_no_more_than_the_area_and_not_too_long():
    for height in range(50, 2000, 97):
        for width in range(50, 2000, 101):
            tall, wide = nearest_size(height, width, 768)
            assert tall % SIDE_STEP == wide % SIDE_STEP == 0 and tall * wide <= 768**2
            assert max(tall, wide) <= LARGEST_RATIO * min(tall, wide)


def test_turning_a_picture_turns_its_size():
    for height, width in ((500, 700), (300, 900), (513, 512)):
        assert nearest_size(height, width, 512) == nearest_size(width, height, 512)[::-1]
