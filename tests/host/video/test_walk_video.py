"""A walk written to a video: its frames are the Walk Sampler's, and a stopped run ends as an unbroken one."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
from pathlib import Path

import av
import comfy.model_management
import comfy.samplers
import folder_paths
import numpy as np
import pytest
import torch

pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")

FRAMES, STEPS = 22, 2
PART = 8  # frames of one, so that there are three
SETTINGS = {"fps": 12.0, "crf": 0.0, "filename_prefix": "walks/test", "frames_per_batch": 4}


class Stopping(comfy.samplers.CFGGuider):
    """A guider that counts frames, and stops the run before one."""

    def __init__(self, model):
        super().__init__(model)
        self.count = {"frames": 0, "stop_at": None}

    def sample(self, noise, *args, **more):
        if self.count["stop_at"] is not None and self.count["frames"] >= self.count["stop_at"]:
            raise comfy.model_management.InterruptProcessingException()
        self.count["frames"] += len(noise)
        return super().sample(noise, *args, **more)


@pytest.fixture
def wires(checkpoint, node, pack_module, tmp_path, monkeypatch):
    """Inputs of the node; its files go to a folder of the test's own."""
    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(tmp_path / "output"))
    monkeypatch.setattr(folder_paths, "get_system_user_directory", lambda name: str(tmp_path / "user"))
    monkeypatch.setattr(pack_module("nodes.video.parts"), "PART_FRAMES", PART - 1)  # made whole batches
    model, clip, vae = checkpoint
    encode = node("CLIPTextEncode")()
    guider = Stopping(model)
    guider.set_conds(encode.encode(clip, "a red circle on a blue background")[0], encode.encode(clip, "")[0])
    guider.set_cfg(2.0)
    return {
        "guider": guider,
        "sampler": comfy.samplers.sampler_object("euler"),
        "vae": vae,
        "sigmas": comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", STEPS),
        "noise": node("SmoothSeedWalk").execute("3, 4", "slerp")[0],
        "walk": node("SmoothWalkSchedule").execute(FRAMES, "linear", "whole walk", False, 0, -1)[0],
        "latent_image": {"samples": torch.zeros(1, 4, 8, 8)},
    }


def written(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "output").rglob("*.*"))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def render(node, wires):
    """render(changed inputs) -> (video, report), counting from zero."""

    def run(stop_at=None, **changed):
        wires["guider"].count.update(frames=0, stop_at=stop_at)
        return node("SmoothWalkToVideo").execute(**{**wires, **SETTINGS, **changed}).result

    return run


def test_its_frames_are_those_of_the_walk_sampler(node, wires, render, tmp_path):
    images = node("SmoothWalkSampler").execute(**wires, frames_per_batch=4)[1]
    video, report = render()
    (file,) = written(tmp_path)
    assert file.name == "test_00001_.mp4" and file.parent.name == "walks"
    with av.open(str(file)) as found:
        stream = found.streams.video[0]
        frames = [
            (float(frame.pts * stream.time_base), frame.to_ndarray(format="rgb24")) for frame in found.decode(stream)
        ]
    assert [round(at * 12, 6) for at, _ in frames] == list(range(FRAMES))
    shown, wanted = np.stack([pixels for _, pixels in frames]) / 255, images.numpy()
    assert np.abs(shown - wanted).mean() < 0.02  # colours are kept at half the size
    assert video.get_dimensions() == (64, 64) and not list((tmp_path / "user" / "videos").iterdir())
    steps = np.sqrt(((wanted[1:].astype(np.float64) - wanted[:-1]) ** 2).sum(axis=(1, 2, 3)))
    mean, cv = (float(number) for number in re.search(r"mean ([\d.]+), .*cv ([\d.]+);", report).groups())
    assert mean == pytest.approx(steps.mean(), rel=1e-3) and cv == pytest.approx(steps.std() / steps.mean(), abs=6e-4)
    assert f"from frame {steps.argmax()} to {steps.argmax() + 1}" in report


@pytest.mark.parametrize("stop_at", [0, 4, 12, 20])
def test_a_stopped_run_goes_on_and_ends_bit_for_bit_as_an_unbroken_one(render, wires, tmp_path, stop_at):
    _, unbroken = render()
    (first,) = written(tmp_path)
    expected = digest(first)
    shutil.rmtree(first.parent)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        render(stop_at=stop_at)
    assert not written(tmp_path)
    _, report = render()
    kept = stop_at // PART * PART
    assert wires["guider"].count["frames"] == FRAMES - kept
    assert digest(written(tmp_path)[0]) == expected
    assert (f", {kept} of them from a run that was stopped" in report) == (kept > 0)
    assert report.splitlines()[-1] == unbroken.splitlines()[-1]
    assert not list((tmp_path / "user" / "videos").iterdir())


def test_other_inputs_do_not_go_on_with_a_stopped_run(render, node, wires, tmp_path):
    others = [
        {"crf": 20.0},
        {"fps": 10.0},
        {"noise": node("SmoothSeedWalk").execute("3, 5", "slerp")[0]},
        {"latent_image": {"samples": torch.ones(1, 4, 8, 8)}},
        {"walk": node("SmoothWalkSchedule").execute(FRAMES, "ease in", "whole walk", False, 0, -1)[0]},
        {"sampler": comfy.samplers.sampler_object("heun")},
    ]
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        render(stop_at=12)
    for changed in others:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            render(stop_at=4, **changed)
        assert wires["guider"].count["frames"] == 4
    assert len(list((tmp_path / "user" / "videos").iterdir())) == len(others) + 1
    wires["guider"].set_cfg(3.0)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        render(stop_at=4)


def test_a_damaged_part_is_rendered_again(render, tmp_path):
    render()
    expected = digest(written(tmp_path)[0])
    shutil.rmtree(tmp_path / "output")
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        render(stop_at=20)
    part = sorted((tmp_path / "user" / "videos").rglob("*.safetensors"))[-1]
    part.write_bytes(part.read_bytes()[:-7])
    render()
    assert digest(written(tmp_path)[0]) == expected


def test_a_full_disk_is_named_and_finished_parts_are_kept(render, wires, tmp_path, pack_module, monkeypatch):
    module = pack_module("nodes.video.parts")
    real, calls = module.encode_part, []

    def full(path, *args):
        calls.append(path)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *args)

    monkeypatch.setattr(module, "encode_part", full)
    said = re.escape(
        f"Walk to Video: could not write test_00001_.mp4 or its parts (No space left on device); {PART} "
        "finished frames are kept: free some space and queue it again"
    )
    with pytest.raises(ValueError, match=f"^{said}$"):
        render()
    monkeypatch.setattr(module, "encode_part", real)
    render()
    assert wires["guider"].count["frames"] == FRAMES - PART


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vae": None}, "Walk to Video: vae is empty, because the checkpoint that it comes from has none; wire"),
        ({"filename_prefix": "../out"}, "filename_prefix '../out' leads out of the output folder"),
        ({"filename_prefix": "a|b"}, "filename_prefix 'a|b' makes no file name"),
        ({"latent_image": {"samples": torch.zeros(5, 4, 8, 8)}}, "Walk Sampler: the LATENT batch holds 5 rows"),
    ],
)
def test_what_is_refused_before_anything_is_rendered(render, wires, tmp_path, changed, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        render(**changed)
    assert not wires["guider"].count["frames"] and not written(tmp_path)


def test_a_model_that_makes_video_itself_is_refused(render, pack_module, monkeypatch):
    """Several pictures for each frame: nothing would say where a stopped run goes on."""
    renderer = pack_module("nodes.walks.render").Renderer
    real = renderer.images
    monkeypatch.setattr(renderer, "images", lambda *args: real(*args).repeat(4, 1, 1, 1))
    with pytest.raises(ValueError, match=f"^Walk to Video: this model makes {4 * PART} pictures where {PART} frames"):
        render()


def test_a_walk_of_two_frames_has_no_evenness(render, wires):
    report = render(walk=wires["walk"].select([0, 21]))[1]
    assert report.splitlines()[-1] == "Too few frames to say how evenly they move."


def test_the_graph_is_inside(node, wires, tmp_path):
    """As the host's own Save Video writes it."""

    class Hidden:
        prompt, extra_pnginfo = {"1": {"class_type": "X"}}, {"workflow": {"nodes": []}}

    made = node("SmoothWalkToVideo")
    kind = type("Prepared", (made,), {"hidden": Hidden})
    kind.execute(**{**wires, **SETTINGS, "walk": wires["walk"].select(range(5))})
    with av.open(str(written(tmp_path)[0])) as found:
        assert json.loads(found.metadata["prompt"]) == Hidden.prompt
        assert json.loads(found.metadata["workflow"]) == {"nodes": []}


def test_finished_parts_keep_no_picture(render, pack_module, monkeypatch):
    """Not even behind an empty view: in a walk of thousands of frames they would add up."""
    parts, kept = pack_module("nodes.video.parts")._Parts, []
    real = parts.render
    monkeypatch.setattr(parts, "render", lambda self, renderer: (real(self, renderer), kept.extend(self._done))[0])
    render()
    assert [part.last.untyped_storage().nbytes() > 0 for part in kept] == [False, False, True]
