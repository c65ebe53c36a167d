"""Outputs that cannot be given this time."""

from comfy_execution.graph_utils import ExecutionBlocker


def blocked(sentence: str) -> ExecutionBlocker:
    """An output value that stops every node wired to it and shows the user the sentence."""
    return ExecutionBlocker(sentence)
