"""The precisions in which tensors are computed."""

from __future__ import annotations

import pytest
import torch

from smooth_lora.precision import computed, widened


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.int64, torch.float32),
    ],
)
def test_arithmetic_is_at_least_single_precision(given, expected):
    x = torch.tensor([1, 2]).to(given)
    assert computed(x).dtype == expected and computed(x).tolist() == [1, 2]


def test_a_tensor_of_the_right_precision_is_not_copied():
    for x in (torch.ones(1), torch.ones(1, dtype=torch.float64)):
        assert computed(x) is x


def test_the_widest_is_double():
    x = widened(torch.tensor([1 / 3], dtype=torch.float16))
    assert x.dtype == torch.float64 and x.item() == 0.333251953125
