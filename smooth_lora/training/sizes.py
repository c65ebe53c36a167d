"""The few sizes that training images are cut to, so that many of them fit into one batch."""

from __future__ import annotations

import math

SIDE_STEP = 64  # px between possible sides: SD models are trained on multiples of it
LARGEST_RATIO = 3  # of the longer side to the shorter


def nearest_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Chooses the (height, width) whose aspect ratio is nearest to the image's.

    height, width: of the image, px; side: of a square of the wanted area, px, a multiple of SIDE_STEP
    returns: multiples of SIDE_STEP with an area of at most side^2; a square image gets side x side
    """
    wanted = math.log(width / height)
    return min(_sizes(side), key=lambda size: (abs(math.log(size[1] / size[0]) - wanted), -size[0] * size[1]))


def _sizes(side: int) -> list[tuple[int, int]]:
    area = side * side
    sizes = {
        (tall, min(area // tall, LARGEST_RATIO * tall) // SIDE_STEP * SIDE_STEP)
        for tall in range(SIDE_STEP, side + 1, SIDE_STEP)
    }
    return sorted(sizes | {(wide, tall) for tall, wide in sizes})
