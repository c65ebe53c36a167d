"""Keys of content: equal for equal content, different for anything else, refused for what has none."""

from __future__ import annotations

import hashlib
import math
import re
import struct

import pytest
import torch

from smooth_lora.files.content_key import content_key

VALUES = [
    None,
    False,
    True,
    0,
    1,
    -1,
    255,
    256,
    2**64,
    0.0,
    -0.0,
    1.0,
    math.inf,
    -math.inf,
    math.nan,
    "",
    "0",
    "1",
    "a",
    "n",
    "None",
    "\ud800",
    [],
    (),
    {},
    [[]],
    [()],
    ([],),
    [None],
    [[], []],
    [[[]]],
    ["a", "bc"],
    ["ab", "c"],
    ["abc"],
    ["a", "b", "c"],
    [["a"], "bc"],
    ["a", ["bc"]],
    ("a", "bc"),
    ["bc", "a"],
    {"a": "bc"},
    {"ab": "c"},
    {"a": ["bc"]},
    {"a": {"b": "c"}},
    {"a": None, "b": None},
    {"a": None},
    [1, 2],
    [12],
    [1, [2, 3]],
    [[1, 2], 3],
    [0.1 + 0.2],
    [0.3],
    *(
        torch.tensor(value, dtype=dtype)
        for value in ([], [0], [0, 0], [[0, 0]], [[0], [0]], 0, [1], [1, 2], [2, 1])
        for dtype in (torch.float32, torch.int32, torch.float16, torch.bfloat16, torch.int64)
    ),
]


def test_different_values_have_different_keys():
    keys = [content_key(part=value) for value in VALUES]
    assert len(set(keys)) == len(VALUES) and all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)


def test_different_names_have_different_keys():
    parts = [
        {},
        {"a": None},
        {"b": None},
        {"a": None, "b": None},
        {"a": {"b": None}},
        {"a": "b"},
        {"ab": None},
        {"a": "b", "c": "d"},
        {"a": "d", "c": "b"},
        {"a": "bc", "d": ""},
        {"a": "b", "cd": ""},
    ]
    assert len({content_key(**part) for part in parts}) == len(parts)


def test_equal_content_has_equal_keys():
    values = torch.arange(24.0).reshape(4, 6)
    views = [
        values,
        values.clone(),
        values.t().contiguous().t(),
        torch.nn.Parameter(values),
        torch.cat([values, values])[:4],
        values.requires_grad_(True),
    ]
    assert len({content_key(a=view) for view in views}) == 1
    assert content_key(a=1, b=2) == content_key(b=2, a=1)
    assert content_key(a={"x": 1, "y": [2]}) == content_key(a={"y": [2], "x": 1})
    assert content_key(a=torch.ones(3).expand(2, 3)) == content_key(a=torch.ones(2, 3))
    assert content_key(a=torch.tensor([math.nan])) == content_key(a=torch.tensor([math.nan]))


def test_the_key_is_counted_as_described():
    def framed(tag: bytes, payload: bytes) -> bytes:
        return tag + struct.pack("<Q", len(payload)) + payload

    counted = (
        framed(b"p", b"a")
        + b"l"
        + struct.pack("<Q", 2)
        + framed(b"i", b"0x7")
        + framed(b"s", b"x")
        + framed(b"p", b"b")
        + framed(b"x", b"F32 (2, 1)")
        + struct.pack("<2f", 1, 2)
    )
    assert content_key(b=torch.tensor([[1.0], [2.0]]), a=[7, "x"]) == hashlib.sha256(counted).hexdigest()


LOOP: list = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (object(), "^content_key: part is an object of type object, which has no content to go by$"),
        ([[None, {"control": len}]], r"^content_key: part\[0\]\[1\]\['control'\] is an object of type builtin"),
        ({1: 2}, "part is a table whose keys are not all texts"),
        (b"bytes", "part is an object of type bytes"),
        (LOOP, "is nested more than 64 deep"),
        (torch.zeros(1, dtype=torch.complex64), "part is a tensor of torch.complex64"),
        (torch.zeros(1, device="meta"), "part is a tensor that is sparse or has no values"),
    ],
    ids=str,
)
def test_what_has_no_content_is_named(value: object, sentence: str):
    with pytest.raises(TypeError, match=sentence):
        content_key(first=1, part=value)
