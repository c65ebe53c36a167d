"""Outputs that have no value this time."""

from __future__ import annotations

from comfy_execution.graph_utils import ExecutionBlocker


def blocked(sentence: str) -> ExecutionBlocker:
    """Makes an output value that stops every node wired to it and shows the user the sentence."""
    return ExecutionBlocker(sentence)
