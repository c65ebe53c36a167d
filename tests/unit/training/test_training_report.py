"""What the report of a training says, and when."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from smooth_lora.training.loop import LOG_COLUMNS
from smooth_lora.training.settings import TrainingSettings
from smooth_lora.training.training_report import curves, training_record, training_report

SETTINGS = TrainingSettings(batch_size=2, accumulation=3, svr_lambda=0.5)
ROW = {
    "base": 0.1,
    "penalty": 0.2,
    "r": 0.3,
    "r_spread": 0.4,
    "slip": 0.001,
    "mean_r": 0.3,
    "gradient": 1.0,
    "lr": 1e-4,
    "unevenness": 0.0,
}


def report(rows: list[dict], settings: TrainingSettings = SETTINGS, **more) -> str:
    log = [tuple({**ROW, **row}[name] for name in LOG_COLUMNS) for row in rows]
    return training_report("mine", settings, log, **{"layers": 24, "numbers": 144384, "rank": 8, "resumed": 0, **more})


def test_first_and_last_tenth():
    text = report([{"base": 0.5}, {"base": 0.3}] + [{}] * 16 + [{"base": 0.2}, {"base": 0.1}])
    assert text.startswith("mine: 20 steps of 6 pictures, lambda 0.5, first_order, rank 8 on 24 layers, 144,384 num")
    assert re.search(r"^mean over +first 2 +last 2$", text, re.MULTILINE)
    assert re.search(r"^base loss +0\.4 +0\.15$", text, re.MULTILINE)
    assert "strayed from it by 0.10%" in text and "That is much" not in text and "has risen" not in text


def test_what_is_worth_a_remark():
    assert "a smaller difference_step" in report([{"slip": 0.02}] * 3)
    assert "The base loss has risen" in report([{"base": 0.1}] * 50 + [{"base": 0.2}] * 50)
    assert "has risen" not in report([{"base": 0.1}, {"base": 0.2}])  # too few to tell from chance
    assert "taken up again after step 7" in report([{}], resumed=7)
    assert report([{}], notes=["More."]).endswith("\nMore.")


def test_estimators_that_take_no_difference_are_not_spoken_of():
    assert "strayed" not in report([{}], replace(SETTINGS, estimator="exact"))
    plain = report([{"penalty": float("nan"), "slip": float("nan")}], replace(SETTINGS, svr_lambda=0.0))
    assert "strayed" not in plain and re.search(r"^penalty +- +-$", plain, re.MULTILINE)


CHECKS = [(0.0, 6.0, 0.8, 7.0, 0.02), (500.0, 4.0, 0.6, 6.5, 0.0203), (1000.0, 3.0, 0.4, 6.3, 0.0210)]


def test_checks_are_a_table_with_what_changed():
    text = report([{}], checks=CHECKS)
    assert re.search(r"^ +step +ISTD +cv +mean step +base loss$", text, re.MULTILINE)
    assert re.search(r"^ +500 +4 +0\.6 +6\.5 +0\.0203$", text, re.MULTILINE)
    assert "From first to last: ISTD -50.0%, cv -50.0%, mean step -10.0%, base loss +5.0%." in text
    assert "risen by more than 3 %" in text and "risen by more than 3 %" not in report([{}], checks=CHECKS[:2])


def test_checks_without_pictures_or_of_still_walks():
    text = report([{}], checks=[(*row[:4], float("nan")) for row in CHECKS])
    assert "mean step -10.0%." in text and re.search(r"^ +0 +6 +0\.8 +7 +-$", text, re.MULTILINE)
    assert "From first to last: base loss +0.0%." in report([{}], checks=[(0.0, 0.0, 0.0, 0.0, 0.1)] * 2)
    assert "held out" not in report([{}])


def test_the_record_is_plain_json_and_takes_the_checks_at_both_ends():
    log = [tuple(ROW[name] for name in LOG_COLUMNS)] * 1000
    record = json.loads(json.dumps(training_record(SETTINGS, log, CHECKS), allow_nan=False))
    assert record["svr_lambda"] == 0.5 and record["steps"] == 1000 and record["r"] == pytest.approx(0.3)
    assert (record["istd_before"], record["istd_after"], record["base_after"]) == (6.0, 3.0, 0.021)
    late = training_record(SETTINGS, log, CHECKS[1:2])
    assert not [name for name in late if name.endswith(("_before", "_after"))]
    nothing = float("nan")
    without = training_record(SETTINGS, [(*log[0][:1], nothing, *log[0][2:])], [(0.0, 1.0, 1.0, 1.0, nothing)])
    assert without["base_before"] is None
    json.dumps(without, allow_nan=False)


def log_of(rows: list[dict]) -> list[tuple]:
    return [tuple({**ROW, **row}[name] for name in LOG_COLUMNS) for row in rows]


def test_curves_are_means_over_equal_stretches():
    rows = [{"base": float(step)} for step in range(1, 8)]
    assert [row[:2] for row in curves(log_of(rows))] == [[step, float(step)] for step in range(1, 8)]
    assert [row[:2] for row in curves(log_of(rows), most=3)] == [[3, 2.0], [6, 5.0], [7, 7.0]]
    assert curves(log_of(rows))[0] == [1, 1.0, 0.2, 0.3, 0.4]
    assert len(curves(log_of([{}] * 1001))) == 251
    assert curves([]) == []


def test_curves_leave_out_what_is_not_finite():
    assert curves(log_of([{"r": float("nan")}]))[0] == [1, 0.1, 0.2, None, 0.4]
