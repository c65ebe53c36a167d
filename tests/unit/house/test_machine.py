"""The line that says where the tests ran."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from devtools import machine

INTEL = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.60GHz\nflags\t\t: fpu avx avx2\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd\n"


@pytest.fixture
def told(tmp_path, monkeypatch):
    """told(text): the line on a machine whose /proc/cpuinfo is this text, with two cores and no variables set."""

    def make(text: str, threads: int | None = 2) -> str:
        (tmp_path / "cpuinfo").write_text(text, encoding="ascii")
        return machine.described(threads)

    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(machine, "windows_flags", lambda: None)
    for variable in ("OMP_NUM_THREADS", *machine.CHOICES):
        monkeypatch.delenv(variable, raising=False)
    return make


def test_it_names_processor_instructions_cores_and_threads(told, monkeypatch):
    assert told(INTEL) == "Intel(R) Xeon(R) CPU @ 2.60GHz, AVX2, 2 cores, torch threads 2, OMP_NUM_THREADS unset"
    assert ", AVX-512, " in told(INTEL.replace("avx2", "avx2 avx512f"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    assert told(INTEL).endswith(", OMP_NUM_THREADS 1, MKL_CBWR AVX2")


def test_what_is_not_told_is_left_out_or_found_elsewhere(told, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    assert told(ARM) == "aarch64, NEON, 2 cores, torch threads 2, OMP_NUM_THREADS unset"
    assert told("").startswith("aarch64, 2 cores, ")


def test_torch_is_asked_where_it_is_loaded_and_never_loaded_for_that(told, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 7))
    assert ", torch threads 7, " in told(INTEL, None)
    monkeypatch.delitem(sys.modules, "torch")
    assert ", torch not loaded, " in told(INTEL, None) and "torch" not in sys.modules


def test_a_mac_is_asked_by_sysctl(told, monkeypatch, tmp_path):
    table = {
        "machdep.cpu.brand_string": "Apple M2",
        "machdep.cpu.features": "FPU AVX1.0",
        "machdep.cpu.leaf7_features": "AVX2",
    }
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(
        machine.subprocess,
        "run",
        lambda command, **_: SimpleNamespace(stdout="\n".join(table[key] for key in command[2:])),
    )
    assert told("").startswith("Apple M2, 2 cores, ")
    (tmp_path / "cpuinfo").unlink()  # as there
    assert machine.described(2).startswith("Apple M2, AVX2, 2 cores, ")


def test_this_machine_has_a_name():
    assert machine.name() and machine.described()
