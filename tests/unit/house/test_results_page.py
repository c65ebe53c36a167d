"""The page of results: made of what benchmarks printed, and nothing else in it touched."""

from __future__ import annotations

import json

import pytest

from benchmarks import run

LINES = [{"commit": "abc", "torch": "2", "threads": 1, "device": "cpu", "dtype": "float32", "cpu": "X",
          "benchmark": "killed_video", "frames": 24, "cv": 0.12345678, "ratios": [0.5, 0.25]},
         {"commit": "abc", "torch": "2", "threads": 1, "device": "cpu", "dtype": "float32", "cpu": "X",
          "benchmark": "killed_video", "frames": 240, "cv": 1.5, "ratios": [1.0], "more": True}]


@pytest.fixture
def page(tmp_path, monkeypatch):
    path = tmp_path / "RESULTS.md"
    path.write_text(f"before\n{run.MARKS[0]}\nold\n{run.MARKS[1]}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(run, "PAGE", path)
    monkeypatch.setattr(run, "KEPT", tmp_path / "results")
    return path


def keep(lines: list[dict], name: str = "killed_video") -> None:
    run.KEPT.mkdir(exist_ok=True)
    (run.KEPT / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_what_differs_is_a_table_and_what_does_not_a_condition(page):
    keep(LINES)
    run.write_page()
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{run.MARKS[0]}\n") and text.endswith(f"{run.MARKS[1]}\nafter\n")
    assert "old" not in text
    assert "| frames | cv | ratios | more |\n| --- | --- | --- | --- |" in text
    assert "| 24 | 0.123457 | 0.5, 0.25 | None |\n| 240 | 1.5 | 1 | True |" in text
    assert "`benchmarks/killed_video.py 500 3`" in text and "commit abc" in text


def test_it_is_the_same_when_made_again(page):
    keep(LINES)
    run.write_page()
    once = page.read_text(encoding="utf-8")
    run.write_page()
    assert page.read_text(encoding="utf-8") == once


def test_a_page_without_marks_is_refused(page):
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match=r"RESULTS\.md needs the lines"):
        run.write_page()


def test_an_unknown_benchmark_is_named():
    with pytest.raises(SystemExit, match="there is no benchmark walks; these are: pacing"):
        run.main(["walks"])


def test_the_page_of_the_repository_is_made_of_what_is_kept():
    before = run.PAGE.read_text(encoding="utf-8")
    run.write_page()
    after = run.PAGE.read_text(encoding="utf-8")
    run.PAGE.write_text(before, encoding="utf-8")
    assert after == before, "run `benchmarks/run.py --page`"
