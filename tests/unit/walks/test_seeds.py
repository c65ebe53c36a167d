"""Lists of seeds as people type them."""

from __future__ import annotations

import pytest

from smooth_lora.walks.typed import MAX_SEED, parse_seeds


@pytest.mark.parametrize(
    "text, seeds",
    [
        ("12, 99, 7", (12, 99, 7)),
        ("12,99,7", (12, 99, 7)),
        ("  12 99\n7 ", (12, 99, 7)),
        ("12; 99; 7;", (12, 99, 7)),
        ("12, 99, 7,", (12, 99, 7)),
        ("12,\n99,\n7\n", (12, 99, 7)),
        ("0, 0", (0, 0)),
        ("007, 08", (7, 8)),
        (f"{MAX_SEED} 1", (2**64 - 1, 1)),
        (", ".join(map(str, range(100))), tuple(range(100))),
    ],
)
def test_seeds_are_read(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "the list of seeds is empty; type at least 2 seeds, for example 12, 99, 7"),
        (" , ", "the list of seeds is empty"),
        ("12", "a seed walk needs 2 to 100 seeds, got 1"),
        (", ".join(map(str, range(101))), "a seed walk needs 2 to 100 seeds, got 101"),
        ("12, x, 7", "entry 2 of the list of seeds, 'x', is not a whole number"),
        ("12, 9.5", "entry 2 of the list of seeds, '9.5', is not a whole number"),
        ("12, -4", "entry 2 of the list of seeds, '-4', is not a whole number from 0 to 18446744073709551615"),
        ("1e3, 4", "entry 1 of the list of seeds, '1e3', is not a whole number"),
        ("12, , 7", "entry 2 of the list of seeds is empty; remove the extra comma"),
        (
            "12, 18446744073709551616",
            "entry 2 of the list of seeds, 18446744073709551616, is larger than the largest seed",
        ),
        ("1, " + "9" * 5000, r"entry 2 of the list of seeds, '9{40}\.\.\.', is not a whole number"),
        ("12, \u0663", "entry 2 of the list of seeds"),
    ],
)
def test_what_is_not_a_list_of_seeds(text, message):
    with pytest.raises(ValueError, match=message):
        parse_seeds(text)
