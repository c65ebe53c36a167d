"""The page of results: made of the files that are kept and of nothing else, with the bars that are missed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import _page, run
from benchmarks._bars import RELATIONS, bar, relation_of
from benchmarks._bench import command_line

CONDITIONS = {
    "command": "benchmarks.killed_video 500 3",
    "commit": "abc",
    "torch": "2",
    "threads": 1,
    "device": "cpu",
    "dtype": "float32",
    "cpu": "X",
    "benchmark": "killed_video",
}
LINES = [
    {**CONDITIONS, "frames": 24, "cv": 0.12345678, "ratios": [0.5, 0.25]},
    {
        **CONDITIONS,
        "frames": 240,
        "cv": 1.5,
        "ratios": [1.0],
        "more": True,
        "bars": {"cv": bar(1.5, at_most=1), "more": bar(True, equals=True)},
    },
]
HEADING = {"title": "Killed", "note": "Read with care.", "commands": [["killed_video", "500", "3"]], "by": ["frames"]}
KEPT = [result for name in _page.names() for result in _page.Results.read(name).lines]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of results, one of them without any."""
    plan = {"title": "All", "note": "Before.", "chapters": [{"title": "One", "note": "", "files": ["killed", "none"]}]}
    (tmp_path / "page.json").write_text(json.dumps(plan), encoding="utf-8")
    _page.Results("killed", HEADING, LINES).write(tmp_path)
    _page.Results("none", {**HEADING, "title": "Later"}, []).write(tmp_path)
    return tmp_path


def test_the_page_of_the_repository_is_made_of_what_is_kept():
    assert run.PAGE.read_text(encoding="utf-8") == _page.page(), "run `python -m benchmarks.run --page`"


def test_every_file_that_is_kept_is_on_the_page():
    assert sorted(_page.names()) == sorted(path.stem for path in _page.KEPT.glob("*.jsonl"))


@pytest.mark.parametrize(
    "line", [line for line in KEPT if "bars" in line], ids=lambda line: line["command"].replace(" ", "_")
)
def test_every_bar_says_what_its_numbers_say(line: dict):
    for name, held in line["bars"].items():
        relation, bound = relation_of(held)
        assert held["met"] is RELATIONS[relation](held["value"], bound)
        assert line.get(name, held["value"]) == held["value"]


def test_every_command_of_a_heading_starts_a_benchmark():
    for name in _page.names():
        for module, *_ in _page.Results.read(name).heading["commands"]:
            assert (run.PAGE.parent / f"{module}.py").is_file()


def test_what_differs_is_a_table_and_what_does_not_a_condition(folder: Path):
    text = _page.page(folder)
    assert "| frames | cv | ratios | more | bar |\n| --- | --- | --- | --- | --- |" in text
    assert "| 24 | 0.123457 | 0.5, 0.25 |  |  |\n| 240 | 1.5 | 1 | true | cv at most 1: **missed**<br>" in text
    assert "`python -m benchmarks.killed_video 500 3`, cpu X" in text and "commit abc" in text
    assert "### Later\n\nRead with care.\n\nNot measured yet." in text


def test_the_bars_that_are_missed_are_named_first(folder: Path):
    before, _ = _page.page(folder).split("## One")
    assert "1 of 2 bars are met. **Missed:**" in before
    assert before.endswith("| Killed | frames 240 | cv | 1.5 | at most 1 |\n\n")


def test_a_run_keeps_the_heading_and_replaces_the_lines(folder: Path, monkeypatch):
    (folder / "three.py").write_text('print(\'{"command": "c", "frames": 3}\')\n', encoding="utf-8")
    monkeypatch.setattr(
        run.subprocess,
        "run",
        lambda command, done=run.subprocess.run, **more: done(
            [sys.executable, str(folder / "three.py"), *command[3:]], **more
        ),
    )
    run.run("killed", folder)
    again = _page.Results.read("killed", folder)
    assert again.heading == HEADING and again.lines == [{"command": "c", "frames": 3}]


def test_an_unknown_benchmark_is_named():
    with pytest.raises(SystemExit, match="there is no benchmark walks; these are: walk_sampler, "):
        run.main(["walks"])


@pytest.mark.parametrize(
    ("given", "called"),
    [
        ([], (24, "1,7.5")),
        (["3"], (3, "1,7.5")),
        (["3", "1", "a", "b"], (3, "1", "a", "b")),
        (["--also", "0.5"], (0.5,)),
    ],
)
def test_a_command_line_fills_in_the_arguments(monkeypatch, given: list[str], called: tuple):
    calls = []

    def main(pictures: int = 24, cfgs: str = "1,7.5", *more: str) -> None:
        calls.append((pictures, cfgs, *more))

    def also(share: float = 1.0) -> None:
        calls.append((share,))

    monkeypatch.setattr(sys, "argv", ["x", *given])
    command_line(main, "Says what.", also=also)
    assert calls == [called]
