"""The ISTD benchmark without its pictures: what is to be scored, what was scored, and what it amounts to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from ..checks import MAX_SEED
from ..files.whole import append_flushed
from .smoothness import Smoothness, from_distances

ENDINGS = ("_rows.jsonl", ".csv", ".json")  # the journal, and what a run leaves
# Part of every key: rows of another definition of the score or of the walk are not taken for this one's.
DEFINITION = "ISTD v1: slerp of two noises, linear, open; L2 on [0, 1], ddof 0"
HEADER = {"format": "Smooth Diffusion ISTD rows", "version": 1}


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

    prompt, negative: texts; seeds: of the walk's two noises
    model, text, vae: fingerprints of the model, of what the prompts were encoded to, and of the VAE
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
        """SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Row:
    """One scored walk; stored as its step lengths, from which every score follows."""

    conditions: Conditions
    scores: Smoothness

    def to_json(self) -> str:
        """One line of JSON; numbers keep all their digits."""
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
        """The row that `to_json` wrote.

        raises: ValueError, KeyError or TypeError if it is anything else, or was changed since
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
    """Seeds of the two noises of prompt `index` (from 0): seed + 2 * index and the next one, modulo 2^64."""
    return (seed + 2 * index) % (MAX_SEED + 1), (seed + 2 * index + 1) % (MAX_SEED + 1)


class Journal:
    """Finished rows in a file, one JSON line each, written as soon as each is finished.

    A killed process can leave at most its last line cut short: that one is dropped and scored again. Anything
    else that is not a row of this format is refused, because it may be somebody's file or a damaged disk.
    """

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> dict[str, Row]:
        """Finished rows by key; empty if there is no file yet.

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
        """Add a row; when this returns, it is on the disk.

        raises: ValueError if the file is not a journal
        """
        kept = len(self._complete(self.path.read_bytes())) if self.path.exists() else 0
        head = "" if kept else json.dumps(HEADER) + "\n"
        append_flushed((head + row.to_json() + "\n").encode(), self.path, kept)

    def _complete(self, content: bytes) -> bytes:
        """The content without a last line cut short; nothing if even the header is."""
        header = (json.dumps(HEADER) + "\n").encode()
        if not content.startswith(header) and not header.startswith(content):
            raise ValueError(
                f"{self.path.name} exists and is not a file of finished benchmark rows; move it "
                "away, or give another filename_prefix"
            )
        return content[: content.rfind(b"\n") + 1]
