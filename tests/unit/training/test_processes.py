"""What processes of one group tell each other."""

from __future__ import annotations

import json
from pathlib import Path

from two_processes import together

from smooth_lora.training.processes import Processes

SAID = (["", "a longer word"], ["", ""], ["\u00e9t\u00e9", "x"])  # by both, one exchange after the other


def _one_of_two(rank: int, folder: str) -> None:
    heard = [Processes.present().gathered(words[rank]) for words in SAID]
    Path(folder, f"{rank}.json").write_text(json.dumps(heard), encoding="utf-8")


def test_each_hears_all_in_the_order_of_their_ranks(tmp_path: Path):
    together(_one_of_two, tmp_path)
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8")) == list(SAID)


def test_one_alone_hears_itself():
    assert Processes().gathered("a") == ["a"]
