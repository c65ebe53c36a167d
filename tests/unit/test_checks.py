"""Checks pass at their edges, and refuse beyond them with the value and the rule."""

from __future__ import annotations

import math

import pytest
import torch

from smooth_lora.checks import require_choice, require_finite, require_floats, require_range, require_same_shape


def test_equal_shapes_pass_and_others_are_all_named():
    require_same_shape("f", a=torch.ones(2, 3), b=torch.zeros(2, 3))
    require_same_shape("f")
    with pytest.raises(ValueError, match=r"^f: shapes must be equal, got a \(2, 3\) and b \(3, 2\) and c \(1,\)$"):
        require_same_shape("f", a=torch.ones(2, 3), b=torch.ones(3, 2), c=torch.ones(1))


@pytest.mark.parametrize(("values", "count"), [([math.nan], 1), ([1.0, math.inf, -math.inf, math.nan], 3)])
def test_values_that_are_not_finite_are_counted(values, count):
    with pytest.raises(ValueError, match=f"^x holds {count} NaN or infinite values$"):
        require_finite("x", torch.tensor(values))


def test_finite_values_pass_in_every_type():
    for x in (torch.ones(2), torch.ones(2, dtype=torch.int32), torch.empty(0), torch.ones(1, dtype=torch.float16)):
        require_finite("x", x)


@pytest.mark.parametrize("value", [0, 1, 0.5])
def test_a_range_includes_its_ends(value):
    require_range("x", value, 0, 1)


@pytest.mark.parametrize("value", [-1e-9, 1 + 1e-9, math.nan, math.inf])
def test_a_number_outside_its_range_is_refused(value):
    with pytest.raises(ValueError, match="^x must be between 0 and 1, got "):
        require_range("x", value, 0, 1)


def test_a_large_whole_number_keeps_its_digits():
    with pytest.raises(ValueError, match=f"got {2**64}$"):
        require_range("seed", 2**64, 0, 2**64 - 1)


def test_a_name_is_one_of_the_choices():
    require_choice("x", "a", ("a", "b"))
    with pytest.raises(ValueError, match="^x must be one of a, b; got 'A'$"):
        require_choice("x", "A", ("a", "b"))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8])
def test_whole_numbers_are_no_floats(dtype):
    require_floats("x", torch.ones(1, dtype=torch.bfloat16), "convert it")
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(ValueError, match=f"^x must hold floats, got {name}; convert it$"):
        require_floats("x", torch.ones(1, dtype=dtype), "convert it")
