"""Words of the commands: progress lines, and one line for what went wrong."""

from __future__ import annotations


class Failure(RuntimeError):
    """A command cannot go on; the message is one sentence that says what to do."""


def say(text: str) -> None:
    """One line of progress, shown at once even where the output goes into a file."""
    print(f"[smooth-diffusion] {text}", flush=True)
