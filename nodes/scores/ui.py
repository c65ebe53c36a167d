"""Scores as the page shows them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import Tensor

from ...smooth_lora.scores.smoothness import Smoothness
from ..host.api import io, ui


def scores_ui(cls: type[io.ComfyNode], chart: Tensor, key: str, data: list[dict[str, Any]]) -> dict[str, Any]:
    """Makes the UI output: the chart shown on the node, and `data` under `key` for the page."""
    return {**ui.PreviewImage(chart, cls=cls).as_dict(), key: data}


def scores_data(name: str, s: Smoothness) -> dict[str, Any]:
    """Returns the scores of one walk as plain JSON data."""
    return {"name": name, **asdict(s), "frames": s.frames}
