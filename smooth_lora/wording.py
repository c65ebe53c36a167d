"""Values as words for sentences."""

from __future__ import annotations

from collections.abc import Collection, Sequence

NAMES_IN_A_SENTENCE = 3


def size_text(shape: Collection[int]) -> str:
    """Returns a shape with x between its numbers: 4x64x64."""
    return "x".join(str(n) for n in shape)


def shortened(text: str, most: int = 200) -> str:
    """Returns a text, a longer one cut to `most` letters and three dots."""
    return text if len(text) <= most else text[:most] + "..."


def name_some(names: Sequence[str]) -> str:
    """Returns the first few names in quotes, and how many more there are."""
    rest = len(names) - NAMES_IN_A_SENTENCE
    listed = ", ".join(f"'{name}'" for name in names[:NAMES_IN_A_SENTENCE])
    return listed + (f" and {rest} more" if rest > 0 else "")
