"""The score node and the benchmark in the real host: what they give, keep, refuse and survive."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from types import SimpleNamespace

import comfy.model_management
import comfy.samplers
import comfy.utils
import folder_paths
import pytest
import torch
from comfy_execution.graph_utils import ExecutionBlocker

from devtools.client import HostError

PROMPTS = "a red circle on a blue background\na green square on a white background"
SMALL = {"steps": 2, "cfg": 3.0, "width": 64, "height": 64, "frames": 3, "seed": 7, "prompts": PROMPTS}


pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")


@pytest.fixture(scope="module")
def demo(demo_models, node):
    """The demo checkpoint, and its model with the demo's LoRA on it."""
    with torch.inference_mode():
        model, clip, vae = node("CheckpointLoaderSimple")().load_checkpoint("smooth_demo.safetensors")
        lora = next((demo_models / "loras").glob("*.safetensors")).name
        with_lora, _ = node("LoraLoader")().load_lora(model, clip, lora, 1.0, 0.0)
        return SimpleNamespace(model=model, clip=Remembering(clip), vae=vae, with_lora=with_lora)


class Remembering:
    """A CLIP that encodes every text once for all tests: the demo's text encoder is of full size."""

    def __init__(self, clip):
        self.clip, self.known = clip, {}

    def tokenize(self, text):
        return text

    def encode_from_tokens_scheduled(self, text):
        if text not in self.known:
            self.known[text] = self.clip.encode_from_tokens_scheduled(self.clip.tokenize(text))
        return [list(entry) for entry in self.known[text]]


@pytest.fixture
def output(tmp_path) -> Path:
    """An output folder of this test's own."""
    before = folder_paths.get_output_directory()
    folder_paths.set_output_directory(str(tmp_path))
    yield tmp_path
    folder_paths.set_output_directory(before)


@pytest.fixture
def bench(node, demo, output):
    """bench(...) -> the benchmark node's outputs; SMALL and the demo's objects unless others are given."""

    def run(**inputs):
        schema = node("SmoothISTDBenchmark").GET_SCHEMA()
        widgets = {i.id: i.default for i in schema.inputs if getattr(i, "default", None) is not None}
        wires = {"model": demo.model, "clip": demo.clip, "vae": demo.vae}
        return node("SmoothISTDBenchmark").execute(**{**widgets, **SMALL, **wires, **inputs})

    return run


@pytest.fixture
def renders(pack_module, monkeypatch):
    """What was rendered: `walks` by their two seeds, and their `images`; `then` is called before each."""
    module = pack_module("nodes.scores.benchmark")
    real, seen = module.render_walk, SimpleNamespace(walks=[], images=[], then=lambda: None)

    def spy(wires, **more):
        seen.then()
        seen.walks.append(wires.noise.seeds)
        rendered = real(wires, **more)
        seen.images.append(rendered.images)
        return rendered

    monkeypatch.setattr(module, "render_walk", spy)
    return seen


def rows(output: Path) -> list[dict[str, str]]:
    with open(output / "smooth_istd/benchmark.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def one_jump(frames: int = 11) -> torch.Tensor:
    return torch.cat([torch.zeros(frames // 2 + 1, 8, 8, 3), torch.ones(frames - frames // 2 - 1, 8, 8, 3)])


class TestScore:
    @pytest.fixture
    def score(self, node):
        return node("SmoothISTD").execute

    def test_scores_chart_table_and_data_for_the_page(self, score):
        images = one_jump()
        before = images.clone()
        out = score(images)
        assert out[0] == pytest.approx(0.3 * math.sqrt(8 * 8 * 3))
        assert out[1].shape == (1, 640, 1024, 3)
        assert "5-6" in out[2]
        assert torch.equal(images, before)
        ui = json.loads(json.dumps(out.ui, allow_nan=False))
        assert all(isinstance(value, list) for value in ui.values())
        assert ui["images"][0]["type"] == "temp"
        (data,) = ui["smooth_istd"]
        assert (data["name"], data["frames"], data["jumps"], data["largest"]) == ("images", 11, [5], 5)
        assert data["cv"] == pytest.approx(3.0)
        assert len(data["distances"]) == 10

    def test_a_second_walk_joins_table_chart_and_data(self, score):
        even = torch.linspace(0, 1, 11).reshape(-1, 1, 1, 1).expand(-1, 8, 8, 3)
        out = score(one_jump(), even)
        assert out[0] == score(one_jump())[0]
        assert out[1].shape[1] > score(one_jump())[1].shape[1]
        assert "compare_with" in out[2]
        assert [data["name"] for data in out.ui["smooth_istd"]] == ["images", "compare_with"]
        assert out.ui["smooth_istd"][1]["cv"] == pytest.approx(0, abs=1e-5)

    @pytest.mark.parametrize(
        ("other", "sentence"),
        [
            (torch.zeros(10, 8, 8, 3), "images has 11 frames and compare_with has 10"),
            (torch.zeros(11, 8, 16, 3), "images has frames of 8x8x3 and compare_with has 8x16x3"),
            (torch.full((11, 8, 8, 3), math.nan), "compare_with: frame 0 holds NaN"),
            (torch.zeros(1, 8, 8, 3), "compare_with needs at least 3 frames"),
        ],
    )
    def test_what_cannot_be_compared_is_refused(self, score, other, sentence):
        with pytest.raises(ValueError, match=sentence):
            score(one_jump(), other)


class TestBenchmark:
    def test_it_scores_what_the_walk_nodes_render(self, bench, node, demo, output):
        istd = bench()[0]
        expected = []
        clip = demo.clip.clip
        for prompt, seeds in zip(PROMPTS.splitlines(), ("7, 8", "9, 10"), strict=True):
            guider = comfy.samplers.CFGGuider(demo.model)
            guider.set_conds(*(node("CLIPTextEncode")().encode(clip, text)[0] for text in (prompt, "")))
            guider.set_cfg(3.0)
            model_sampling = demo.model.get_model_object("model_sampling")
            sigmas = comfy.samplers.calculate_sigmas(model_sampling, "normal", 2)
            walk = node("SmoothWalkSchedule").execute(3, "linear", "whole walk", False, 0, -1)[0]
            noise = node("SmoothSeedWalk").execute(seeds, "slerp")[0]
            latent = node("EmptyLatentImage")().generate(64, 64)[0]
            images = node("SmoothWalkSampler").execute(
                guider, comfy.samplers.sampler_object("euler"), sigmas, noise, latent, walk, demo.vae
            )[1]
            expected.append(node("SmoothISTD").execute(images)[0])
        assert istd == pytest.approx(sum(expected) / 2, rel=1e-4)
        assert [float(row["istd"]) for row in rows(output)] == pytest.approx(expected, rel=1e-4)
        assert [(row["seed_a"], row["seed_b"]) for row in rows(output)] == [("7", "8"), ("9", "10")]

    def test_a_walk_begins_and_ends_with_the_pictures_of_the_stock_sampler(self, bench, node, demo, renders):
        bench(prompts="a red circle", sampler_name="dpm_2", scheduler="karras")
        positive, negative = (node("CLIPTextEncode")().encode(demo.clip.clip, text)[0] for text in ("a red circle", ""))
        for seed, frame in ((7, renders.images[0][0]), (8, renders.images[0][-1])):
            latent = node("EmptyLatentImage")().generate(64, 64)[0]
            sampled = node("KSampler")().sample(
                demo.model, seed, 2, 3.0, "dpm_2", "karras", positive, negative, latent
            )[0]
            picture = node("VAEDecode")().decode(demo.vae, sampled)[0][0]
            torch.testing.assert_close(frame, picture, atol=1e-3, rtol=0)

    def test_two_models_are_scored_on_the_same_walks(self, bench, demo, output, renders):
        one, two, chart, table = bench(model=demo.with_lora, model_2=demo.model).args
        assert renders.walks == [(7, 8), (9, 10)] * 2
        assert one != two
        assert chart.shape[0] == 1
        assert chart.shape[3] == 3
        assert "2 prompts" in table
        report = json.loads((output / "smooth_istd/benchmark.json").read_text())
        assert report["summary"]["model"]["istd"]["mean"] == one
        assert report["summary"]["model_2"]["istd"]["mean"] == two
        assert [row["model"] for row in report["rows"]] == ["model", "model", "model_2", "model_2"]

    def test_without_a_second_model_its_score_is_blocked_with_a_sentence(self, bench):
        blocker = bench()[1]
        assert isinstance(blocker, ExecutionBlocker)
        assert "wire one to model_2" in blocker.message

    def test_one_progress_bar_goes_over_all_walks(self, bench, demo, monkeypatch):
        seen = []
        monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda *sent, **_: seen.append(sent[:2]))
        bench(model=demo.with_lora, model_2=demo.model)
        assert {total for _, total in seen} == {4 * 3 * (2 + 1)}  # walks, frames, steps and decoding
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert seen[-1][0] == seen[-1][1]

    def test_data_for_the_page_is_json_in_lists(self, bench):
        ui = json.loads(json.dumps(bench().ui, allow_nan=False))
        assert all(isinstance(value, list) for value in ui.values())
        assert ui["smooth_istd_benchmark"][0]["prompts"] == 2

    def test_the_page_is_told_every_walk_and_finds_the_files(self, bench, node, output, pack_module, monkeypatch):
        told = []
        monkeypatch.setattr(
            pack_module("nodes.scores.nodes"),
            "Page",
            lambda cls: SimpleNamespace(tell=lambda event, data: told.append((event, data))),
        )
        out = bench()
        (files,) = out.ui["smooth_istd_files"]
        report = json.loads((output / files["json"]["subfolder"] / files["json"]["filename"]).read_text("utf-8"))
        rows = [{name: row[name] for name in told[0][1]["row"]} for row in report["rows"]]
        assert told == [
            ("smooth_diffusion.row", {"walks": 2, "number": number, "row": row})
            for number, row in enumerate(rows, start=1)
        ]
        assert [row["prompt"] for row in rows] == PROMPTS.splitlines()
        assert (output / files["csv"]["subfolder"] / files["csv"]["filename"]).read_text("utf-8").count("\n") == 3
        assert {place["type"] for place in files.values()} == {"output"}
        told.clear()
        assert bench(filename_prefix="%year%/deep/er").ui["smooth_istd_files"][0]["csv"]["subfolder"].endswith("/deep")

    def test_the_same_model_twice_is_rendered_once_and_said(self, bench, demo, renders):
        one, two, _, table = bench(model_2=demo.model.clone()).args
        assert len(renders.walks) == 2
        assert one == two
        assert "Both models are the same" in table

    def test_models_and_conditions_are_left_alone(self, bench, demo, pack_module):
        fingerprint = pack_module("nodes.model.fingerprint").fingerprint
        before = fingerprint(demo.model), fingerprint(demo.with_lora)
        bench(model=demo.with_lora, model_2=demo.model)
        assert (fingerprint(demo.model), fingerprint(demo.with_lora)) == before


class TestResuming:
    def test_what_was_scored_is_not_rendered_again(self, bench, renders):
        first = bench()
        again = bench(frames_per_batch=1)
        assert renders.walks == [(7, 8), (9, 10)]
        assert again.args[0] == first.args[0]
        assert again.args[3] == first.args[3]

    def test_a_new_prompt_is_rendered_alone(self, bench, renders):
        bench()
        bench(prompts=PROMPTS + "\na yellow ring on a black background")
        assert renders.walks == [(7, 8), (9, 10), (11, 12)]

    def test_another_setting_is_another_walk(self, bench, renders):
        for number, change in enumerate(
            (
                {},
                {"steps": 3},
                {"cfg": 4.0},
                {"seed": 8},
                {"negative_prompt": "a square"},
                {"width": 72},
                {"height": 72},
                {"frames": 4},
                {"sampler_name": "heun"},
                {"scheduler": "karras"},
            ),
            start=1,
        ):
            bench(prompts="a red circle", **change)
            assert len(renders.walks) == number, change

    def test_another_model_text_encoder_or_vae_is_another_walk(self, bench, renders, demo, node):
        bench(prompts="a red circle")
        bench(prompts="a red circle", model=demo.with_lora)
        assert len(renders.walks) == 2

        class OtherCLIP(Remembering):
            def encode_from_tokens_scheduled(self, text):
                return [[1.1 * tensor, entry] for tensor, entry in super().encode_from_tokens_scheduled(text)]

        bench(prompts="a red circle", clip=OtherCLIP(demo.clip.clip))
        assert len(renders.walks) == 3

        class OtherVAE:
            def __getattr__(self, name):
                return getattr(demo.vae, name)

            def get_sd(self):
                return {name: weight + 1 for name, weight in demo.vae.get_sd().items()}

        bench(prompts="a red circle", vae=OtherVAE())
        assert len(renders.walks) == 4

    def test_an_interrupt_keeps_what_was_finished(self, bench, renders, output):
        def stop_the_second():
            if renders.walks:
                comfy.model_management.interrupt_current_processing(True)

        renders.then = stop_the_second
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            bench()
        assert not comfy.model_management.processing_interrupted()
        renders.then = lambda: None
        renders.walks.clear()
        resumed = bench()
        assert renders.walks == [(9, 10)]
        (output / "smooth_istd/benchmark_rows.jsonl").unlink()
        assert bench()[0] == pytest.approx(resumed[0], rel=1e-5)

    def test_a_kill_while_writing_costs_that_row_only(self, bench, renders, output):
        bench()
        journal = output / "smooth_istd/benchmark_rows.jsonl"
        journal.write_bytes(journal.read_bytes()[:-30])
        renders.walks.clear()
        bench()
        assert renders.walks == [(9, 10)]


class TestRefusals:
    @pytest.mark.parametrize("prefix", ["../elsewhere", "/etc/elsewhere", "a/../../elsewhere"])
    def test_files_stay_in_the_output_folder(self, bench, prefix, renders):
        with pytest.raises(ValueError, match="leads out of the output folder; give a name inside it"):
            bench(filename_prefix=prefix)
        assert renders.walks == []

    @pytest.mark.parametrize("prefix", ["", "..", "a/..", " ", "a\0b", "a\nb", "C:\\x", "x" * 300])
    def test_a_prefix_must_make_a_file_name(self, bench, prefix):
        with pytest.raises(ValueError, match="makes no file name; give one such as smooth_diffusion/first"):
            bench(filename_prefix=prefix)

    def test_a_link_does_not_lead_out_either(self, bench, output, tmp_path_factory):
        outside = tmp_path_factory.mktemp("outside")
        (output / "link").symlink_to(outside, target_is_directory=True)
        with pytest.raises(ValueError, match="leads out of the output folder"):
            bench(filename_prefix="link/benchmark")
        assert not list(outside.iterdir())

    def test_a_foreign_file_of_that_name_is_left_alone(self, bench, output):
        (output / "notes_rows.jsonl").write_text("my notes\n")
        with pytest.raises(ValueError, match="exists and is not a file of finished benchmark rows"):
            bench(filename_prefix="notes")
        assert (output / "notes_rows.jsonl").read_text() == "my notes\n"

    @pytest.mark.parametrize(
        ("inputs", "sentence"),
        [
            ({"prompts": " \n "}, "prompts is empty; write at least one prompt"),
            ({"clip": None}, "clip is empty, because the checkpoint that it comes from has none; wire the CLIP"),
            ({"vae": None}, "vae is empty, because the checkpoint that it comes from has none"),
            ({"width": 100}, "width must be a multiple of 8, got 100"),
            ({"height": 65}, "height must be a multiple of 8, got 65"),
            ({"sampler_name": "dpm_adaptive"}, "dpm_adaptive"),
        ],
    )
    def test_inputs_that_cannot_be_benchmarked(self, bench, inputs, sentence, renders):
        with pytest.raises(ValueError, match=sentence):
            bench(**inputs)


class TestServer:
    """The sentence reaches the user, and the server goes on."""

    @staticmethod
    def graph(frames: int) -> dict:
        return {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32, "batch_size": frames, "color": 0}},
            "2": {"class_type": "SmoothISTD", "inputs": {"images": ["1", 0]}},
        }

    def test_a_single_picture_is_refused_and_a_batch_runs_alone(self, client):
        with pytest.raises(HostError, match="images needs at least 3 frames to be scored, got 1"):
            client.run(self.graph(1))
        outputs = client.run(self.graph(4))["2"]
        assert outputs["smooth_istd"][0]["still"] is True
        assert outputs["images"][0]["filename"].endswith(".png")
        assert client.view(outputs["images"][0]).startswith(b"\x89PNG")

    def test_a_missing_wire_is_named(self, client):
        with pytest.raises(HostError, match="images"):
            client.queue({"2": {"class_type": "SmoothISTD", "inputs": {}}})
