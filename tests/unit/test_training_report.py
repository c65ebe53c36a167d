"""What the report of a training says, and when."""

from __future__ import annotations

import re
from dataclasses import replace

from smooth_lora.training import COLUMNS, Settings
from smooth_lora.training_report import training_report

SETTINGS = Settings(batch_size=2, accumulation=3, svr_lambda=0.5)
ROW = {"base": 0.1, "penalty": 0.2, "r": 0.3, "r_spread": 0.4, "slip": 0.001, "mean_r": 0.3, "gradient": 1.0,
       "lr": 1e-4}


def report(rows: list[dict], settings: Settings = SETTINGS, **more) -> str:
    log = [tuple({**ROW, **row}[name] for name in COLUMNS) for row in rows]
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
