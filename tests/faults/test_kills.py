"""The server is killed without warning in the middle of each long job, started again, and takes up the work."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from small_prompts import benchmark_prompt, inversion_prompt, pictures, training_prompt, walk_prompt

from devtools.demo import draw_training_pictures
from devtools.server import Server

MINUTES = 5
pytestmark = pytest.mark.usefixtures("demo_models")


def killed_when(base: Path, prompt: dict, ready: Callable[[], bool], later: float = 0.0) -> None:
    """Queue a prompt on a server of its own and kill it as soon as something is true, or so many seconds later."""
    with Server(base=base) as server:
        draw_training_pictures(server.input)
        server.client.queue(prompt)
        deadline = time.monotonic() + MINUTES * 60
        while not ready():
            assert time.monotonic() < deadline, "the job did not get that far"
            time.sleep(0.01)
        time.sleep(later)
        os.kill(server.pid, signal.SIGKILL)
        server.wait()


def finished(base: Path, prompt: dict) -> dict:
    with Server(base=base) as server:
        draw_training_pictures(server.input)
        return server.client.run(prompt, timeout=MINUTES * 60)


def test_a_walk(tmp_path, client):
    """Frames that had arrived are lost with ComfyUI's temp folder; the next run gives the very same."""
    frames = tmp_path / "temp" / "smooth_diffusion"
    killed_when(tmp_path, walk_prompt(frames=60), lambda: len(list(frames.glob("*/*.jpg"))) > 4)
    with Server(base=tmp_path) as server:
        assert pictures(server.client, walk_prompt()) == pictures(client, walk_prompt())


def test_an_inversion(tmp_path):
    log = tmp_path / "server.log"
    killed_when(tmp_path, inversion_prompt(400), lambda: b"got prompt" in log.read_bytes(), later=3.0)
    assert list((tmp_path / "user").rglob("*.inversion.safetensors")) == []
    outputs = finished(tmp_path, inversion_prompt(5))
    assert "latent error" in outputs["7"]["text"][0]
    kept = list((tmp_path / "output" / "inversions").iterdir())
    assert [file.name for file in kept] == ["picture_00001.inversion.safetensors"]


def test_a_benchmark_keeps_every_finished_walk(tmp_path, tmp_path_factory):
    journal = tmp_path / "output" / "bench" / "mark_rows.jsonl"
    prompt = benchmark_prompt(12)

    def lines() -> list[str]:
        return journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []

    killed_when(tmp_path, prompt, lambda: len(lines()) >= 4)
    kept = [line for line in lines()[1:] if line.endswith("}")]
    assert 3 <= len(kept) < 12
    finished(tmp_path, prompt)
    assert lines()[1 : len(kept) + 1] == kept  # not rendered again
    whole = tmp_path_factory.mktemp("whole")
    finished(whole, prompt)
    ours, theirs = (json.loads((base / "output/bench/mark.json").read_text("utf-8")) for base in (tmp_path, whole))
    assert ours == theirs and len(ours["rows"]) == 12


@pytest.mark.full
def test_a_training_ends_bit_for_bit_as_an_unbroken_one(tmp_path, tmp_path_factory):
    prompt = training_prompt(8)

    def kept() -> list[Path]:
        return list((tmp_path / "user").rglob("faulty.training.safetensors"))

    killed_when(tmp_path, prompt, lambda: bool(kept()))
    finished(tmp_path, prompt)
    whole = tmp_path_factory.mktemp("whole")
    finished(whole, prompt)
    ours, theirs = (load_file(next((base / "output" / "loras").glob("*.safetensors"))) for base in (tmp_path, whole))
    assert ours.keys() == theirs.keys() and all(bool((ours[key] == theirs[key]).all()) for key in ours)
