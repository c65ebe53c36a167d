"""Rules that the page computes, too: both are compared with the same tables in tests/js."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smooth_lora.checks import MAX_SEED
from smooth_lora.walks.easing import EASINGS, ease
from smooth_lora.walks.typed import MAX_SEEDS, MIN_SEEDS, parse_easings, parse_seeds

TABLES = Path(__file__).resolve().parents[2] / "js"


def table(name: str) -> dict:
    return json.loads((TABLES / name).read_text(encoding="ascii"))


EASED, SEEDS = table("easings.json"), table("seeds.json")


def read(parse, text: str) -> list | None:
    """Reads a list; None if it is refused."""
    try:
        return list(parse(text))
    except ValueError:
        return None


@pytest.mark.parametrize("easing", EASINGS)
def test_easings_are_their_closed_forms(easing):
    points = EASED["curves"][easing]
    assert [ease(t, easing) for t, _ in points] == [value for _, value in points]


def test_the_easings_are_those_of_the_page_in_their_order():
    assert list(EASED["curves"]) == list(EASINGS)


@pytest.mark.parametrize("case", EASED["lists"], ids=lambda case: repr(case["typed"]))
def test_lists_of_easings(case):
    assert read(parse_easings, case["typed"]) == case["easings"]


def test_there_are_as_few_and_as_many_seeds_as_on_the_page():
    assert (MIN_SEEDS, MAX_SEEDS, str(MAX_SEED)) == (SEEDS["fewest"], SEEDS["most"], SEEDS["largest"])


@pytest.mark.parametrize("case", SEEDS["lists"], ids=lambda case: repr(case["typed"]))
def test_lists_of_seeds(case):
    seeds = read(parse_seeds, case["typed"])
    assert (None if seeds is None else [str(seed) for seed in seeds]) == case["seeds"]
