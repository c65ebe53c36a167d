"""The commands in tools/ as processes: what two train and score together, stops, kills, and bad configs."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from devtools.layout import PACK, SHARE_CORES
from devtools.report import Failure
from smooth_lora.training.settings import TrainingRun, TrainingSettings
from tools import _host
from tools._config import KINDS, Config, fields_of, walk_fields
from tools.benchmark import BenchmarkConfig
from tools.train import DEMO, TrainConfig

ENVIRONMENT = {**os.environ, **SHARE_CORES, "OMP_NUM_THREADS": "1"}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
LONGEST = 240  # seconds that a command may take on a busy machine
CHECKPOINT, PROMPT = "smooth_demo.safetensors", "a red circle on a blue background"
TRAINING = {
    "checkpoint": CHECKPOINT,
    "pictures": "demo",
    "demo_pictures": 4,
    "resolution": 64,
    "name": "run",
    "steps": 5,
    "batch_size": 2,
    "learning_rate": 1e-3,
    "estimator": "exact",
    "save_every": 1,
    "file": {"filename_prefix": "loras/run", "precision": "float32"},
}
WALKS = {
    "checkpoint": CHECKPOINT,
    "lora": "smooth_demo_lora.safetensors",
    "prompts": [PROMPT, "a green square on a white background"],
    "steps": 2,
    "cfg": 3.0,
    "frames": 3,
    "width": 64,
    "height": 64,
    "filename_prefix": "scores",
}

Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start(tmp_path: Path, demo_models: Path) -> Start:
    """start(command, table, *launcher) -> the process of tools.command with that config; ended after the test."""
    started = []

    def run(command: str, table: object, *launcher: str) -> subprocess.Popen:
        config = tmp_path / f"{len(started)}.json"
        config.write_text(table if isinstance(table, str) else json.dumps(table), encoding="utf-8")
        started.append(
            subprocess.Popen(
                [sys.executable, *launcher, "-m", f"tools.{command}", "--config", str(config)],
                env=ENVIRONMENT,
                cwd=PACK,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def end_of(process: subprocess.Popen, code: int = 0) -> str:
    """What it said until it ended by itself."""
    said, _ = process.communicate(timeout=LONGEST)
    assert process.returncode == code, said
    return said


def signalled(process: subprocess.Popen, words: str, number: signal.Signals) -> str:
    """What it said, after a signal as soon as it had said these words."""
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            process.send_signal(number)
            return said + process.communicate(timeout=LONGEST)[0]
    raise AssertionError(f"{words!r} was not said:\n{said}")


def lora_in(base: Path, name: str = "run") -> dict[str, torch.Tensor]:
    return load_file(base / "output" / "loras" / f"{name}.safetensors")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, demo_models: Path) -> dict[str, torch.Tensor]:
    """What TRAINING makes in one go in one process."""
    base = tmp_path_factory.mktemp("unbroken")
    (base / "run.json").write_text(json.dumps({**TRAINING, "base": str(base)}), encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "tools.train", "--config", str(base / "run.json")],
        env=ENVIRONMENT,
        cwd=PACK,
        check=True,
        timeout=LONGEST,
    )
    return lora_in(base)


class TestTrain:
    def test_two_processes_train_what_one_does_with_twice_the_batch(self, start: Start, tmp_path: Path, unbroken):
        check = {"prompts": [PROMPT], "steps": 2, "frames": 3}  # the second process waits while the first one looks
        said = end_of(start("train", {**TRAINING, "base": str(tmp_path), "batch_size": 1, "check": check}, *TORCHRUN))
        found = lora_in(tmp_path)
        ends = [
            torch.cat([lora[name].flatten() for name in sorted(lora) if "lora_up" in name])
            for lora in (unbroken, found)
        ]
        # Sums in another order, five steps long. AdamW takes a whole step of a weight whose gradient is hardly more
        # than rounding as well: which weights these are nobody can say, but they are few. With other pictures or half
        # of them it is nearly every weight.
        off = (ends[0] - ends[1]).abs() > 1e-2 * ends[0].square().mean().sqrt()
        assert float(off.double().mean()) < 1e-2
        assert "2 processes trained together, so a step was of 2 pictures in all." in said
        assert said.count("check at step 0: ISTD") == said.count("check at step 5: ISTD") == 1
        assert len(list((tmp_path / "output" / "loras").iterdir())) == 1

    def test_stopped_and_killed_it_ends_bit_for_bit_as_an_unbroken_run(self, start: Start, tmp_path: Path, unbroken):
        table = {**TRAINING, "base": str(tmp_path)}
        stopped = start("train", {**table, "save_every": 100})
        said = signalled(stopped, "] step 1/5", signal.SIGINT)
        assert stopped.returncode == 130 and "the same command goes on from there" in said, said
        killed = start("train", table)
        signalled(killed, "] step ", signal.SIGKILL)  # its first step is on disk, the next one under way
        assert killed.returncode == -signal.SIGKILL
        assert re.search("It was taken up again after step [234]", end_of(start("train", table)))
        found = lora_in(tmp_path)
        assert found.keys() == unbroken.keys() and all(torch.equal(found[name], unbroken[name]) for name in found)

    def test_processes_that_would_not_train_the_same_are_told_what_differs(self, pack_module):
        def gathered(said: str) -> list[str]:
            return [said, said.replace("abc", "abd")]

        work = SimpleNamespace(processes=SimpleNamespace(gathered=gathered))
        with pytest.raises(ValueError, match="process 1 has pictures 'abd' where process 0 has 'abc'; give all of"):
            pack_module("nodes.training.run")._require_together(work, {"model": "a", "pictures": "abc"})


class TestBenchmark:
    def test_two_processes_write_the_same_bytes_as_one(self, start: Start, tmp_path: Path):
        for name, launcher in (("one", ()), ("two", TORCHRUN)):
            end_of(start("benchmark", {**WALKS, "base": str(tmp_path / name)}, *launcher))
        one, two = (tmp_path / name / "output" for name in ("one", "two"))
        names = ["scores.csv", "scores.json", "scores_rows.jsonl"]
        assert sorted(file.name for file in one.iterdir()) == sorted(file.name for file in two.iterdir()) == names
        assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names[:2])
        rows = json.loads((two / "scores.json").read_text(encoding="utf-8"))["rows"]
        assert [row["conditions"]["seeds"] for row in rows] == [[0, 1], [2, 3]] * 2


@pytest.fixture
def no_host(tmp_path: Path) -> str:
    """A folder that looks like ComfyUI, and says so when it is loaded."""
    folder = tmp_path / "ComfyUI"
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").touch()
    (folder / "comfy" / "__init__.py").write_text("raise ValueError('the host was loaded')", encoding="utf-8")
    return str(folder)


GOOD = {name: TRAINING[name] for name in ("checkpoint", "pictures", "name")}
LACKING = {"pictures": "demo", "name": "run"}
BAD = {
    "no JSON": ("train", '{"checkpoint": }', "is no JSON: Expecting value: line 1 column 16"),
    "a name twice": ("train", '{"name": "a", "name": "b"}', "is no JSON: name is there twice"),
    "no table": ("train", [1, 2], r"the file must be a table of names and values, got \[1, 2\]"),
    "an unknown name": ("train", {**GOOD, "stesp": 5}, r"stesp is unknown; did you mean steps\?"),
    "one that is missing": ("train", LACKING, "checkpoint is missing; give a text"),
    "a text for a number": ("train", {**GOOD, "steps": "10"}, 'steps must be a whole number, got "10"'),
    "a truth for a number": ("train", {**GOOD, "batch_size": True}, "batch_size must be a whole number, got true"),
    "not a number": ("train", {**GOOD, "learning_rate": float("nan")}, "learning_rate must be a number, got NaN"),
    "a table of the check": (
        "train",
        {**GOOD, "check": {"prompts": ["a"], "evry": 5}},
        r"check.evry is unknown; did you mean check.every\?",
    ),
    "no prompt": ("train", {**GOOD, "check": {"prompts": [" "]}}, "check.prompts has no text; give at least one"),
    "checks that go back": ("train", {**GOOD, "check": {"prompts": ["a"], "every": -1}}, "check.every must be 0 or"),
    "no folder of pictures": ("train", {**GOOD, "pictures": "nowhere"}, "pictures names .*nowhere, which is no folder"),
    "no ComfyUI": ("train", {**GOOD, "comfyui": "nowhere"}, r"there is no ComfyUI in .*nowhere; run `python install"),
    "no file of prompts": ("benchmark", {**WALKS, "prompts": "nowhere.txt"}, "prompts names .*nowhere.txt, which"),
    "prompts of another kind": ("benchmark", {**WALKS, "prompts": [1]}, r"prompts must be a list of texts or .*\[1"),
}


class TestDevices:
    @pytest.mark.parametrize(("visible", "place", "chosen"), [(None, 2, "2"), ("4,6", 1, "6"), ("", 1, "")])
    def test_every_process_sees_one_of_its_own(self, monkeypatch, visible: str | None, place: int, chosen: str):
        self._start_as(monkeypatch, visible, place)
        _host._choose_device()
        assert os.environ["CUDA_VISIBLE_DEVICES"] == chosen

    def test_more_processes_than_devices_are_refused(self, monkeypatch):
        self._start_as(monkeypatch, "4", 1)
        with pytest.raises(ValueError, match="^CUDA_VISIBLE_DEVICES names 1 devices, but there are more processes"):
            _host._choose_device()

    @staticmethod
    def _start_as(monkeypatch, visible: str | None, place: int) -> None:
        for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
            monkeypatch.setenv(name, visible or "")
        if visible is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        monkeypatch.setenv("LOCAL_RANK", str(place))
        monkeypatch.setattr(_host, "LOCAL_RANK", place)


class TestConfigs:
    @pytest.mark.parametrize("case", BAD)
    def test_a_bad_one_is_refused_in_one_sentence_before_the_host_is_loaded(self, start: Start, no_host, case: str):
        command, table, sentence = BAD[case]
        if isinstance(table, dict):
            table = {"comfyui": no_host, **table}
        said = end_of(start(command, table), code=2)
        assert len(said.splitlines()) == 1 and re.search(sentence, said), said

    def test_a_good_one_loads_it(self, start: Start, no_host: str):
        assert end_of(start("train", {"comfyui": no_host, **GOOD}), code=1) == "error: the host was loaded\n"

    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            ({"steps": 0}, "steps must be from 1 to 1000000, got 0"),
            ({"lr_schedule": "linear"}, "lr_schedule must be one of constant, cosine, got linear"),
            ({"file": {"key_style": "mine"}}, "file.key_style must be one of kohya, .* got mine"),
            ({"resolution": 0}, "resolution must be from 64 to 4096, got 0"),
            ({"check": {"prompts": ["a"], "frames": 2}}, "check.frames must be from 3 to 1000, got 2"),
        ],
    )
    def test_what_a_node_would_not_take_is_refused(self, host_pack, tmp_path: Path, values: dict, sentence: str):
        file = tmp_path / "run.json"
        file.write_text(json.dumps({**GOOD, **values}), encoding="utf-8")
        with pytest.raises(Failure, match=f"^run.json: {sentence}"):
            TrainConfig(file).require_in_bounds(host_pack)

    def test_a_checkpoint_is_a_name_or_a_path(self, host_pack, tmp_path: Path):
        file = tmp_path / "run.json"
        file.write_text("{}", encoding="utf-8")
        config = Config(file)
        assert _host.model_name(config, "checkpoints", CHECKPOINT, "checkpoint") == CHECKPOINT
        with pytest.raises(Failure, match="^run.json: checkpoint a.safetensors is neither a file nor one of ComfyUI's"):
            _host.model_name(config, "checkpoints", "a.safetensors", "checkpoint")

    def test_fields_are_those_of_the_pack(self, pack_module):
        """They have the names, the defaults and only kinds that can be checked."""
        for record in (TrainingSettings, TrainingRun):
            kept = getattr(pack_module("smooth_lora.training.settings"), record.__name__)
            read = fields_of(record)
            assert list(read) == [field.name for field in dataclasses.fields(kept)]
            assert all(
                read[field.name].default == field.default
                for field in dataclasses.fields(kept)
                if field.default is not dataclasses.MISSING
            )
            assert all(kind in KINDS for field in read.values() for kind in field.kinds.split(" | "))
        walks = walk_fields(64)
        assert walks["width"].default == 64
        assert all(kind in KINDS for field in walks.values() for kind in field.kinds.split(" | "))

    def test_the_trainer_has_a_widget_for_every_setting(self, host_pack):
        """Their bounds are taken from there."""
        widgets = {widget.id for widget in host_pack.node("SmoothLoRATrainer").GET_SCHEMA().inputs}
        assert {*fields_of(TrainingSettings), *fields_of(TrainingRun)} <= widgets

    def test_those_in_the_repository_are_good(self, host_pack, tmp_path: Path):
        folder = DEMO.parent
        TrainConfig(DEMO).require_in_bounds(host_pack)
        BenchmarkConfig(folder / "demo_benchmark.json").require_in_bounds(host_pack)
        table = json.loads((folder / "sd15_4gpu.json").read_text(encoding="utf-8"))
        here = {"comfyui": str(PACK / ".host" / "ComfyUI"), "pictures": str(tmp_path)}
        file = tmp_path / "sd15.json"
        file.write_text(json.dumps({**table, **here}), encoding="utf-8")
        published = TrainConfig(file)
        published.require_in_bounds(host_pack)
        assert published.settings["batch_size"] * 4 * published.settings["accumulation"] == 96
