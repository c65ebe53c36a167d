"""Values in sentences."""

from __future__ import annotations

import pytest

from smooth_lora.wording import name_some, shortened, size_text


@pytest.mark.parametrize(("shape", "text"), [((4, 64, 64), "4x64x64"), ((7,), "7"), ((), "")])
def test_a_shape(shape, text):
    assert size_text(shape) == text


def test_a_text_is_cut_only_where_it_is_longer():
    assert shortened("a" * 200) == "a" * 200
    assert shortened("a" * 201) == "a" * 200 + "..."
    assert shortened("abc", 2) == "ab..."


@pytest.mark.parametrize(
    ("names", "text"),
    [(["a"], "'a'"), (["a", "b", "c"], "'a', 'b', 'c'"), (["a", "b", "c", "d"], "'a', 'b', 'c' and 1 more"), ([], "")],
)
def test_three_names_and_the_number_of_the_others(names, text):
    assert name_some(names) == text
