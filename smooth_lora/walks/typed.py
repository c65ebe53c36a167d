"""Lists as people type them: seeds, prompts, easings and numbers."""

from __future__ import annotations

import re

from ..checks import MAX_SEED
from ..wording import shortened
from .easing import EASINGS, Easing

MIN_SEEDS, MAX_SEEDS = 2, 100
MAX_PROMPTS = 100


def parse_seeds(text: str) -> tuple[int, ...]:
    """Reads a list of seeds, such as "12, 99, 7".

    text:    2 to 100 whole numbers 0 .. 2**64 - 1, separated by commas, semicolons, spaces or lines
    returns: the seeds in order
    raises:  ValueError naming the entry that is not a seed, or the number of seeds
    """
    words = re.split(r"\s*[,;]\s*|\s+", text.strip(",; \t\r\n"))
    if words == [""]:
        raise ValueError("the list of seeds is empty; type at least 2 seeds, for example 12, 99, 7")
    seeds = tuple(_seed(word, number) for number, word in enumerate(words, 1))
    if not MIN_SEEDS <= len(seeds) <= MAX_SEEDS:
        raise ValueError(
            f"a seed walk needs {MIN_SEEDS} to {MAX_SEEDS} seeds, got {len(seeds)}; type them like this: 12, 99, 7"
        )
    return seeds


def _seed(word: str, number: int) -> int:
    if not word:
        raise ValueError(f"entry {number} of the list of seeds is empty; remove the extra comma")
    if not re.fullmatch(r"[0-9]{1,20}", word):
        raise ValueError(
            f"entry {number} of the list of seeds, {shortened(word, 40)!r}, is not a whole number from 0 to "
            f"{MAX_SEED}; type seeds like this: 12, 99, 7"
        )
    if int(word) > MAX_SEED:
        raise ValueError(
            f"entry {number} of the list of seeds, {word}, is larger than the largest seed, {MAX_SEED}; "
            "use a smaller one"
        )
    return int(word)


def prompt_lines(text: str) -> tuple[str, ...]:
    """Reads the prompts of a text, one per line; empty lines do not count.

    raises: ValueError if there is none
    """
    prompts = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not prompts:
        raise ValueError("prompts is empty; write at least one prompt, one per line")
    return prompts


def parse_prompts(text: str) -> tuple[str, ...]:
    """Reads the prompts of a walk, one per line.

    raises: ValueError for none, or for more than 100
    """
    prompts = prompt_lines(text)
    if len(prompts) > MAX_PROMPTS:
        raise ValueError(
            f"a prompt walk needs 1 to {MAX_PROMPTS} prompts, got {len(prompts)} lines; render the walk in parts"
        )
    return prompts


def parse_easings(text: str) -> tuple[Easing, ...]:
    """Reads names of easings, separated by commas, semicolons or lines; () for an empty text.

    raises: ValueError naming the first word that is no easing
    """
    names = tuple(" ".join(name.split()).lower() for name in re.split(r"[,;\n]", text.strip(",; \t\r\n")))
    if names == ("",):
        return ()
    easings: list[Easing] = []
    for number, name in enumerate(names, start=1):
        if name not in EASINGS:
            raise ValueError(
                f"entry {number} of easings, {shortened(name, 40)!r}, is no easing; write {', '.join(EASINGS)}, "
                "separated by commas"
            )
        easings.append(name)
    return tuple(easings)


def parse_numbers(text: str, what: str) -> tuple[float, ...]:
    """Reads numbers separated by commas, spaces or lines, in brackets or not.

    what:   they are, for the error
    raises: ValueError naming the first word that is no number
    """
    words = text.replace(",", " ").replace("[", " ").replace("]", " ").split()
    for word in words:
        try:
            float(word)
        except ValueError:
            raise ValueError(f"{what} must be numbers separated by commas; got {shortened(word, 40)!r}") from None
    return tuple(float(word) for word in words)
