"""Tables of plain text."""

from __future__ import annotations

import pytest

from smooth_lora.drawing.table import aligned


def test_labels_stand_left_and_cells_right():
    assert aligned([("a", ["1", "22"]), ("bbb", ["333", "4"])]) == ["a      1  22", "bbb  333   4"]


def test_a_label_alone_is_a_line():
    assert aligned([("label", [])]) == ["label"]


def test_rows_of_different_lengths_are_a_mistake():
    with pytest.raises(ValueError, match="shorter"):
        aligned([("a", ["1", "2"]), ("b", ["1"])])
