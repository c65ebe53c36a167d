"""Rows of the ISTD benchmark: the conditions of each walk, its scores, and the journal that keeps them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from ..checks import MAX_SEED
from ..files.whole import append_flushed
from .smoothness import Smoothness, from_distances

BENCHMARK_ENDINGS = ("_rows.jsonl", ".csv", ".json")  # of the journal and of the files of a finished run
# Part of every key, so that rows of another definition of the score or of the walk have other keys.
DEFINITION = "ISTD v1: slerp of two noises, linear, open; L2 on [0, 1], ddof 0"
JOURNAL_HEADER = {"format": "Smooth Diffusion ISTD rows", "version": 1}


@dataclass(frozen=True)
class WalkSetting:
    """Settings that all walks of a benchmark share.

    negative: prompt; width, height: of the frames, px; the others as in ComfyUI's KSampler
    """

    negative: str
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    width: int
    height: int
    frames: int


@dataclass(frozen=True)
class Conditions:
    """Everything that decides the frames of one walk, and so its score.

    prompt, negative: as they were typed
    seeds:            of the walk's two noises
    model, text, vae: fingerprints of the model, of the encoded prompts, and of the VAE

    The number of frames that go through the model together is not among them: it changes no frame.
    """

    prompt: str
    negative: str
    seeds: tuple[int, int]
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    width: int
    height: int
    frames: int
    model: str
    text: str
    vae: str
    definition: str = DEFINITION

    @cached_property
    def key(self) -> str:
        """SHA-256 of all conditions."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Row:
    """One scored walk; stored as its step lengths, from which every score follows."""

    conditions: Conditions
    scores: Smoothness

    def to_json(self) -> str:
        """Returns one line of JSON; numbers keep all their digits."""
        return json.dumps(
            {
                "key": self.conditions.key,
                "conditions": asdict(self.conditions),
                "size": self.scores.size,
                "distances": self.scores.distances,
            },
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, line: str) -> Row:
        """Returns the row that `to_json` wrote.

        raises: ValueError, KeyError or TypeError if the line is anything else, or was changed since
        """
        stored = json.loads(line)
        given = dict(stored["conditions"])
        conditions = Conditions(**{**given, "seeds": tuple(given["seeds"])})
        if conditions.key != stored["key"]:
            raise ValueError("its key does not fit its conditions")
        scores = from_distances(stored["distances"], tuple(stored["size"]))
        if scores.frames != conditions.frames:
            raise ValueError("its step lengths do not fit its number of frames")
        return cls(conditions, scores)


def pair_seeds(seed: int, index: int) -> tuple[int, int]:
    """Returns the seeds of the two noises of prompt `index` (from 0): seed + 2 * index and the next, modulo 2^64."""
    return (seed + 2 * index) % (MAX_SEED + 1), (seed + 2 * index + 1) % (MAX_SEED + 1)


class Journal:
    """Finished rows in a file, one JSON line each, each written as soon as it is finished.

    A killed process can at most leave its last line cut short: that row is dropped and scored again. Any other line
    that is not a row of this format is refused, because the file may be somebody else's or the disk damaged.
    """

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> dict[str, Row]:
        """Returns the finished rows by key; none if there is no file yet.

        raises: ValueError if the file is not a journal or one of its whole lines is damaged
        """
        if not self.path.exists():
            return {}
        complete = self._complete(self.path.read_bytes())
        rows = {}
        for number, line in enumerate(complete.splitlines()[1:], start=2):
            try:
                row = Row.from_json(line.decode())
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
                reason = str(error).partition("\n")[0][:200]
                raise ValueError(
                    f"line {number} of {self.path.name} is damaged ({reason}); delete that line, "
                    "or give another filename_prefix to start anew"
                ) from error
            rows[row.conditions.key] = row
        return rows

    def append(self, row: Row) -> None:
        """Adds a row; when this returns, the row is on the disk.

        raises: ValueError if the file is not a journal
        """
        size = len(self._complete(self.path.read_bytes())) if self.path.exists() else 0
        head = "" if size else json.dumps(JOURNAL_HEADER) + "\n"
        append_flushed((head + row.to_json() + "\n").encode(), self.path, size)

    def _complete(self, content: bytes) -> bytes:
        """Returns the content without a last line cut short; nothing if even the header is cut."""
        header = (json.dumps(JOURNAL_HEADER) + "\n").encode()
        if not content.startswith(header) and not header.startswith(content):
            raise ValueError(
                f"{self.path.name} exists and is not a file of finished benchmark rows; move it "
                "away, or give another filename_prefix"
            )
        return content[: content.rfind(b"\n") + 1]
