"""The benchmark's bookkeeping: keys, the journal and what a kill may do to it, means, CSV and JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import statistics

import pytest

from smooth_lora.files.whole import write_text
from smooth_lora.scores.benchmark_report import (
    MEASURES,
    benchmark_bars,
    benchmark_csv,
    benchmark_headline,
    benchmark_report,
    benchmark_table,
    mean_istd,
    save_benchmark,
    summarise,
)
from smooth_lora.scores.chart import bar_chart
from smooth_lora.scores.rows import Conditions, Journal, Row, pair_seeds
from smooth_lora.scores.smoothness import from_distances
from smooth_lora.walks.typed import prompt_lines

BASE = Conditions(
    prompt="a red circle on a blue background",
    negative="",
    seeds=(0, 1),
    steps=25,
    cfg=7.5,
    sampler_name="euler",
    scheduler="normal",
    width=64,
    height=64,
    frames=4,
    model="m",
    text="c",
    vae="v",
)


def row(prompt: str = BASE.prompt, distances=(0.1, 0.7, 1 / 3), **changes) -> Row:
    conditions = dataclasses.replace(BASE, prompt=prompt, **changes)
    return Row(conditions, from_distances(distances, (64, 64, 3)))


def test_prompts_one_per_line():
    assert prompt_lines("a red circle\n\n  a blue square \r\nthree, with, commas") == (
        "a red circle",
        "a blue square",
        "three, with, commas",
    )


@pytest.mark.parametrize("text", ["", " \n\t\n"])
def test_no_prompt_is_refused(text):
    with pytest.raises(ValueError, match="prompts is empty; write at least one prompt"):
        prompt_lines(text)


def test_every_prompt_has_its_own_two_seeds():
    seeds = [pair_seeds(100, i) for i in range(3)]
    assert seeds == [(100, 101), (102, 103), (104, 105)]
    assert pair_seeds(2**64 - 1, 0) == (2**64 - 1, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a"},
        {"negative": "b"},
        {"seeds": (0, 2)},
        {"seeds": (1, 0)},
        {"steps": 24},
        {"cfg": 7.0},
        {"sampler_name": "ddim"},
        {"scheduler": "karras"},
        {"width": 72},
        {"height": 72},
        {"frames": 5},
        {"model": "n"},
        {"text": "d"},
        {"vae": "w"},
        {"definition": "another"},
    ],
)
def test_every_condition_is_in_the_key(change):
    assert dataclasses.replace(BASE, **change).key != BASE.key
    assert dataclasses.replace(BASE).key == BASE.key


def test_a_row_survives_json_to_the_last_digit():
    original = row('quotes " and, commas \u00e9')
    assert Row.from_json(original.to_json()) == original


class TestJournal:
    @pytest.fixture
    def journal(self, tmp_path) -> Journal:
        return Journal(tmp_path / "benchmark_rows.jsonl")

    def test_nothing_yet(self, journal):
        assert journal.read() == {}

    def test_rows_come_back_by_key(self, journal):
        rows = [row("a"), row("b", distances=(1.0, 2.0, 3.0))]
        for each in rows:
            journal.append(each)
        assert journal.read() == {each.conditions.key: each for each in rows}
        assert len(journal.path.read_text().splitlines()) == 3

    def test_any_cut_of_the_last_line_is_dropped_and_written_anew(self, journal):
        journal.append(row("a"))
        whole = journal.path.read_bytes()
        journal.append(row("b"))
        content = journal.path.read_bytes()
        for length in range(len(whole), len(content)):
            journal.path.write_bytes(content[:length])
            assert list(journal.read()) == [row("a").conditions.key]
            journal.append(row("b"))
            assert journal.path.read_bytes() == content

    def test_a_cut_header_is_an_empty_journal(self, journal):
        journal.append(row("a"))
        content = journal.path.read_bytes()
        for length in range(content.index(b"\n") + 1):
            journal.path.write_bytes(content[:length])
            assert journal.read() == {}
            journal.append(row("a"))
            assert journal.path.read_bytes() == content

    @pytest.mark.parametrize(
        "content", [b"my shopping list\n", b'{"format": "something else"}\n{}\n', b"\x00\x01", b"\n"]
    )
    def test_a_foreign_file_is_refused_and_left_alone(self, journal, content):
        journal.path.write_bytes(content)
        for act in (journal.read, lambda: journal.append(row("a"))):
            with pytest.raises(ValueError, match=r"exists and is not a file of finished benchmark rows"):
                act()
        assert journal.path.read_bytes() == content

    @pytest.mark.parametrize(
        "damage",
        [
            lambda line: b"not json",
            lambda line: b"[]",
            lambda line: b"{}",
            lambda line: line.replace(b'"steps": 25', b'"steps": 26'),
            lambda line: line.replace(b"0.7", b"NaN"),
            lambda line: line.replace(b"0.1, 0.7", b"0.7"),
            lambda line: line.replace(b"red", b"\xff\xfe"),
            lambda line: line[:40],
        ],
    )
    def test_a_damaged_line_is_refused_by_its_number(self, journal, damage):
        journal.append(row())
        journal.append(row("b"))
        header, first, second = journal.path.read_bytes().splitlines()
        assert damage(first) != first
        journal.path.write_bytes(b"\n".join([header, damage(first), second, b""]))
        with pytest.raises(ValueError, match=r"line 2 of benchmark_rows\.jsonl is damaged .*; delete that"):
            journal.read()


def test_means_and_spreads_by_hand():
    rows = [row("a", (1.0, 1.0, 1.0)), row("b", (0.0, 3.0, 0.0)), row("c", (2.0, 4.0, 6.0))]
    summary = summarise(rows)
    assert set(summary) == set(MEASURES)
    istd = [0.0, 2**0.5, (8 / 3) ** 0.5]
    assert summary["istd"].mean == pytest.approx(statistics.fmean(istd))
    assert summary["istd"].std == pytest.approx(statistics.pstdev(istd))
    assert summary["mean_distance"].mean == pytest.approx((1 + 1 + 4) / 3)
    assert summary["path"].std == pytest.approx(statistics.pstdev([3, 3, 12]))


RESULTS = {
    "model": [row("a, b", (1.0, 2.0, 9.0)), row("c")],
    "model_2": [row("a, b", (1.0, 1.5, 2.0), model="n"), row("c", (0.0, 0.0, 0.0), model="n")],
}


def test_csv_reads_back():
    read = list(csv.DictReader(io.StringIO(benchmark_csv(RESULTS))))
    assert [(r["model"], r["prompt_number"], r["prompt"]) for r in read] == [
        ("model", "1", "a, b"),
        ("model", "2", "c"),
        ("model_2", "1", "a, b"),
        ("model_2", "2", "c"),
    ]
    expected = [each for rows in RESULTS.values() for each in rows]
    for line, each in zip(read, expected, strict=True):
        for name in MEASURES:
            assert float(line[name]) == getattr(each.scores, name)
        assert line["key"] == each.conditions.key
        assert line["model_fingerprint"] == each.conditions.model
    assert read[0]["largest_step"] == "2-3"


def test_json_report_reads_back():
    data = json.loads(json.dumps(benchmark_report(RESULTS), allow_nan=False))
    assert data == benchmark_report(RESULTS)
    assert data["summary"]["model"]["istd"]["mean"] == summarise(RESULTS["model"])["istd"].mean
    assert data["rows"][0]["distances"] == [1.0, 2.0, 9.0]
    assert data["rows"][3]["conditions"]["seeds"] == [0, 1]
    assert data["caveats"]


def test_bars_and_headline_agree_with_the_summary():
    panels, legend = benchmark_bars(RESULTS)
    assert panels["cv"]["model"] == [each.scores.cv for each in RESULTS["model"]]
    assert len(legend) == 2
    assert legend[0].startswith(f"model:  ISTD {mean_istd(RESULTS['model']):.3g} +- ")
    assert bar_chart(panels, legend).shape[-1] == 3
    assert benchmark_headline(RESULTS)["summary"]["model_2"]["istd"]["mean"] == mean_istd(RESULTS["model_2"])


def test_saved_files_are_the_csv_and_the_report(tmp_path):
    save_benchmark(RESULTS, tmp_path / "a.csv", tmp_path / "a.json")
    assert (tmp_path / "a.csv").read_text() == benchmark_csv(RESULTS)
    assert json.loads((tmp_path / "a.json").read_text()) == benchmark_report(RESULTS)


def test_table_says_what_must_be_known():
    text = benchmark_table(RESULTS)
    assert "Mean +- standard deviation over 2 prompts" in text
    assert "1. a, b (seeds 0 and 1)" in text
    assert "model_2: all frames of prompt 2 are the same picture" in text
    assert "Read the mean step beside ISTD" in text
    assert "Both models are the same" not in text
    assert "Both models are the same" in benchmark_table({"model": RESULTS["model"], "model_2": RESULTS["model"]})
    assert len(max(benchmark_table({"model": [row("x" * 300)]}).splitlines(), key=len)) < 150


def test_whole_files_replace_and_leave_no_draft(tmp_path):
    path = tmp_path / "a.csv"
    write_text("one\r\n", path)
    write_text("two\n", path)
    assert path.read_bytes() == b"two\n"
    assert list(tmp_path.iterdir()) == [path]
