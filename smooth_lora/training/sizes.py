"""Which of a few shared sizes each training picture is cut to, so that many of them fit into one batch."""

from __future__ import annotations

import math

STEP = 64  # px between the sides on offer: SD models are at home on multiples of it
MOST_RATIO = 3  # of the longer side to the shorter


def nearest_size(height: int, width: int, side: int) -> tuple[int, int]:
    """The (height, width) on offer whose shape is nearest to the picture's.

    height, width: of the picture, px; side: of a square of the wanted area, px, a multiple of STEP
    returns: multiples of STEP with an area of at most side^2; a square picture gets side x side
    """
    wanted = math.log(width / height)
    return min(_sizes(side), key=lambda size: (abs(math.log(size[1] / size[0]) - wanted), -size[0] * size[1]))


def _sizes(side: int) -> list[tuple[int, int]]:
    area = side * side
    sizes = {(tall, min(area // tall, MOST_RATIO * tall) // STEP * STEP) for tall in range(STEP, side + 1, STEP)}
    return sorted(sizes | {(wide, tall) for tall, wide in sizes})
