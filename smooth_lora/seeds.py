"""Lists of seeds as people type them."""

from __future__ import annotations

import re

MAX_SEED = 2**64 - 1
MIN_SEEDS, MAX_SEEDS = 2, 100


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read "12, 99, 7".

    text:    2 to 100 whole numbers 0 .. 2**64 - 1, separated by commas, semicolons, spaces or lines
    returns: the seeds in order
    raises:  ValueError naming the entry that is not a seed, or the number of seeds
    """
    words = re.split(r"\s*[,;]\s*|\s+", text.strip(",; \t\r\n"))
    if words == [""]:
        raise ValueError("the list of seeds is empty; type at least 2 seeds, for example 12, 99, 7")
    seeds = tuple(_seed(word, place) for place, word in enumerate(words, 1))
    if not MIN_SEEDS <= len(seeds) <= MAX_SEEDS:
        raise ValueError(
            f"a seed walk needs {MIN_SEEDS} to {MAX_SEEDS} seeds, got {len(seeds)}; "
            "type them like this: 12, 99, 7"
        )
    return seeds


def _seed(word: str, place: int) -> int:
    if not word:
        raise ValueError(f"entry {place} of the list of seeds is empty; remove the extra comma")
    if not re.fullmatch(r"[0-9]{1,20}", word):
        raise ValueError(
            f"entry {place} of the list of seeds, {word[:40]!r}, is not a whole number from 0 to {MAX_SEED}; "
            "type seeds like this: 12, 99, 7"
        )
    if int(word) > MAX_SEED:
        raise ValueError(
            f"entry {place} of the list of seeds, {word}, is larger than the largest seed, {MAX_SEED}; "
            "use a smaller one"
        )
    return int(word)
