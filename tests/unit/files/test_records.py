"""Records from plain data: every field of the right type, none missing, none unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pytest
import torch

from smooth_lora.files.records import plain_data, record_of


@dataclass(frozen=True)
class Part:
    kind: Literal["a", "b"]
    share: float = 1.0


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    by_name: Mapping[str, Part | int]
    tensor: torch.Tensor | None = None


WHOLE = Whole((Part("a"), Part("b", 0.5)), {"one": Part("a"), "two": 2})


def test_a_record_comes_back_from_its_plain_data():
    data = plain_data(WHOLE)
    assert data == {
        "parts": ({"kind": "a", "share": 1.0}, {"kind": "b", "share": 0.5}),
        "tensor": None,
        "by_name": {"one": {"kind": "a", "share": 1.0}, "two": 2},
    }
    assert record_of(data, Whole, "") == WHOLE


def test_lists_stay_as_they_are():
    entries = [[torch.ones(1), {"a": (1,)}]]
    assert plain_data({"text": entries})["text"] is entries


@pytest.mark.parametrize(
    ("data", "error", "sentence"),
    [
        (1, TypeError, "^part is not a table$"),
        ({}, ValueError, "^'part.kind' is missing$"),
        ({"kind": "a", "extra": 1}, ValueError, "^'part.extra' is unknown$"),
        ({"kind": "c"}, TypeError, "^part.kind is of the wrong type, str$"),
        ({"kind": "a", "share": "much"}, TypeError, "^part.share is of the wrong type, str$"),
        ({"kind": "a", "share": True}, TypeError, "^part.share is of the wrong type, bool$"),
    ],
)
def test_a_wrong_field_is_named(data, error, sentence):
    with pytest.raises(error, match=sentence):
        record_of(data, Part, "part.")


def test_a_whole_number_serves_as_a_float():
    assert record_of({"kind": "a", "share": 2}, Part, "") == Part("a", 2)


def test_a_wrong_field_deep_inside_is_named_with_its_way():
    with pytest.raises(TypeError, match=r"^parts\[1\].share is of the wrong type, NoneType$"):
        record_of({"parts": ({"kind": "a"}, {"kind": "a", "share": None}), "by_name": {}}, Whole, "")
    with pytest.raises(TypeError, match=r"^by_name.one is of the wrong type, str$"):
        record_of({"parts": (), "by_name": {"one": "x"}}, Whole, "")
