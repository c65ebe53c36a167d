"""The table of processors: what is run, what is left out, and when it is red."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from devtools import processors


@pytest.fixture
def ran(monkeypatch) -> list:
    """The commands and variables of each run on a processor without AVX-512; runs with two threads fail."""
    runs: list[tuple[list[str], dict[str, str]]] = []

    def run(command, *, env, stdout, **_):
        runs.append((command, env))
        red = env["OMP_NUM_THREADS"] == "2"
        stdout.write(b"FAILED a::b - why\n1 failed, 3 passed in 1s\n" if red else b"4 passed in 1s\n")
        return SimpleNamespace(returncode=int(red))

    monkeypatch.setattr(processors.machine, "flags", lambda: {"sse2", "avx2"})
    monkeypatch.setattr(processors.subprocess, "run", run)
    return runs


def test_every_setting_runs_with_both_thread_counts_but_what_the_processor_lacks(ran, capsys, monkeypatch):
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    assert processors.main([]) == 1
    said = capsys.readouterr().out
    assert "MKL_CBWR=AVX512                  left out: this processor has no avx512f" in said
    assert "as it is, 2 threads: FAILED a::b - why" in said and "1 threads:" not in said
    assert len(ran) == 2 * (len(processors.SETTINGS) - 1)
    assert "MKL_CBWR" not in ran[0][1] and ran[2][1]["MKL_CBWR"] == "COMPATIBLE"
    assert {env["OMP_NUM_THREADS"] for _, env in ran} == {"1", "2"}
    assert "--ignore=tests/unit/house" in ran[0][0] and "tests/unit" in ran[0][0]


def test_chosen_tests_run_alone_and_green_is_zero(ran, capsys, monkeypatch):
    monkeypatch.setattr(processors, "THREADS", (1,))
    assert processors.main(["tests/unit/sampling/test_ddim.py", "-x"]) == 0
    assert ran[0][0][-2:] == ["tests/unit/sampling/test_ddim.py", "-x"] and "tests/unit" not in ran[0][0]
    assert capsys.readouterr().out.endswith("all green\n")


def test_a_run_that_does_not_come_to_its_tests_is_red(ran, monkeypatch, capsys):
    def broken(command, *, stdout, **_):
        stdout.write(b"ImportError: nothing here")
        return SimpleNamespace(returncode=4)

    monkeypatch.setattr(processors.subprocess, "run", broken)
    assert processors.main([]) == 1
    assert "ImportError: nothing here" in capsys.readouterr().out
