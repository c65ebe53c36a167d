"""Tables as lines of plain text."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Returns lines of text with the labels left and every column as wide as its widest cell."""
    label_width = max(len(label) for label, _ in rows)
    widths = [max(len(cell) for cell in column) for column in zip(*(cells for _, cells in rows), strict=True)]
    return ["  ".join([label.ljust(label_width), *map(str.rjust, cells, widths)]) for label, cells in rows]
