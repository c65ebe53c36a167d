"""Plain data and tensors as JSON: what comes back, what is put aside, and what no file can hold."""

from __future__ import annotations

import json
import math

import pytest
import torch

from smooth_lora.files.packing import Packer, unpacked


def packed(value: object) -> tuple[object, dict[str, torch.Tensor]]:
    packer = Packer("leave it out")
    return json.loads(json.dumps(packer.encode(value, "entry"), allow_nan=False)), packer.tensors


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**70),
        0.1 + 0.2,
        math.inf,
        -0.0,
        "",
        "a",
        [],
        (),
        {},
        [(1, [2.5])],
        {"a": {"$b": None}},
        {"$tensor": "text.0"},
        {"$": 1, "b": ()},
    ],
    ids=repr,
)
def test_plain_data_comes_back_as_it_was(value):
    document, tensors = packed(value)
    back = unpacked(document, tensors, set())
    assert repr(back) == repr(value) and not tensors


def test_a_nan_keeps_its_bits():
    document, _ = packed(math.nan)
    assert document == {"$float": "7ff8000000000000"} and math.isnan(unpacked(document, {}, set()))


def test_a_tensor_is_put_aside_once_and_copied():
    values = torch.arange(6.0).reshape(2, 3).t()
    document, tensors = packed([values, (values,)])
    assert document == [{"$tensor": "text.0"}, {"$tuple": [{"$tensor": "text.0"}]}] and list(tensors) == ["text.0"]
    assert tensors["text.0"].is_contiguous() and tensors["text.0"].data_ptr() != values.data_ptr()
    used: set[str] = set()
    first, (second,) = unpacked(document, tensors, used)
    assert torch.equal(first, values) and second is first and used == {"text.0"}


@pytest.mark.parametrize(
    ("value", "carried"),
    [
        (object(), "an object of type object"),
        ([[torch.ones(1), {"control": object()}]], r"a ControlNet \('control'\)"),
        ({"own": {"deeper": {1: 2}}}, r"a table whose keys are not all texts \('own'\)"),
        ({"": {"deeper": object()}}, r"an object of type object \(''\)"),
        ("\ud800", "a text that is not valid Unicode"),
        (torch.ones(1).to_sparse(), "a tensor that is sparse or has no values"),
    ],
    ids=str,
)
def test_what_a_file_cannot_hold_is_named_with_its_owner_and_the_remedy(value, carried):
    with pytest.raises(ValueError, match=f"^the entry carries {carried}, which a file cannot hold; leave it out$"):
        packed(value)


def test_a_value_that_holds_itself_has_an_end():
    value: list = []
    value.append(value)
    with pytest.raises(ValueError, match="the entry carries a value that is nested more than 64 deep"):
        packed(value)


@pytest.mark.parametrize("value", [{"$tensor": "text.7"}, {"$tuple": 1}, {"$other": 1}], ids=str)
def test_a_mark_that_stands_for_nothing_is_refused(value):
    with pytest.raises(ValueError, match="stands for nothing$"):
        unpacked(value, {}, set())
