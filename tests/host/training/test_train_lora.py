"""A Smooth-LoRA trained on the demo checkpoint: resumed as if unbroken, loadable everywhere, and what it refuses."""

from __future__ import annotations

import json

import comfy.model_base
import comfy.model_management
import comfy.nested_tensor
import comfy.sd
import demo_scene
import lora_models
import numpy as np
import pytest
import torch
from comfy_execution.graph_utils import ExecutionBlocker
from comfy_extras.nodes_dataset import MakeTrainingDataset, ResolutionBucket
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
from comfy_extras.nodes_train import LoraModelLoader
from PIL import Image

OF_THE_RUN = ("rank", "targets", "low_memory", "check_every")
pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """The folder of trainings."""
    monkeypatch.setattr("folder_paths.get_system_user_directory", lambda name: str(tmp_path / name))
    return tmp_path / "smooth_diffusion" / "training"


@pytest.fixture
def trained(pack_module, demo, kept):
    """trained(name, ...) -> what three short steps on two pictures make."""

    def run(name: str, *, model=None, latents=None, texts=None, empty=None, check=None, **options):
        module = pack_module("nodes.training.run")
        settings = pack_module("smooth_lora.training.settings").TrainingSettings(
            **{
                "steps": 3,
                "learning_rate": 1e-3,
                "seed": 2,
                "batch_size": 2,
                "difference_step": 3e-4,
                **{key: value for key, value in options.items() if key not in OF_THE_RUN},
            }
        )
        pictures = pack_module("nodes.training.images").training_set(
            model or demo.model,
            [{"samples": demo.both}] if latents is None else latents,
            [demo.first, demo.second] if texts is None else texts,
            [demo.empty] if empty is None else empty,
        )
        return module.train_lora(
            model or demo.model,
            pictures,
            settings,
            module.TrainingRun(name, **{key: options[key] for key in OF_THE_RUN if key in options}),
            check=check,
        )

    return run


@pytest.fixture
def stopped_at(monkeypatch):
    """stopped_at(number): the user presses stop before that call of the model, counted from 1."""
    inner = comfy.model_base.BaseModel.apply_model

    def arm(number: int) -> None:
        calls = []

        def apply_model(self, *args, **kwargs):
            calls.append(1)
            if len(calls) == number:
                comfy.model_management.interrupt_current_processing()
            return inner(self, *args, **kwargs)

        monkeypatch.setattr(comfy.model_base.BaseModel, "apply_model", apply_model)

    yield arm
    comfy.model_management.interrupt_current_processing(False)


def test_stopped_in_a_step_and_resumed_it_ends_bit_for_bit_as_an_unbroken_run(trained, kept, stopped_at):
    whole = trained("whole")
    assert whole.resumed == 0 and len(whole.log) == 3
    stopped_at(7)  # two steps of three calls, and the first call of the third
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        trained("broken")
    resumed = trained("broken")
    assert resumed.resumed == 2 and resumed.log == whole.log
    assert all(torch.equal(tensor, whole.lora[key]) for key, tensor in resumed.lora.items())
    assert sorted(file.name for file in kept.iterdir()) == ["broken.training.safetensors", "whole.training.safetensors"]


def test_a_finished_run_is_not_trained_again(trained, stopped_at):
    first = trained("done")
    stopped_at(1)
    again = trained("done")
    assert again.resumed == 3 and all(torch.equal(tensor, first.lora[key]) for key, tensor in again.lora.items())


def test_the_stock_loader_takes_every_key(trained, demo):
    lora = trained("stock").lora
    assert len(lora) == 48 and all(tensor.isfinite().all() and tensor.any() for tensor in lora.values())
    patched, _ = comfy.sd.load_lora_for_models(demo.model, None, lora, 1.0, 0.0)
    assert len(patched.patches) == len(lora) // 2 == 24


def test_the_model_and_the_pictures_are_left_alone(trained, demo):
    before = {name: weight.clone() for name, weight in demo.model.model.state_dict().items()}
    pictures, uuid = demo.both.clone(), demo.model.patches_uuid
    trained("alone", low_memory=True)
    assert torch.equal(demo.both, pictures) and demo.model.patches_uuid == uuid and not demo.model.patches
    assert all(torch.equal(weight, before[name]) for name, weight in demo.model.model.state_dict().items())
    assert not any("forward" in module.__dict__ for module in demo.model.model.modules())


def test_mixed_sizes_train_as_the_host_buckets_them_or_as_they_come(trained, demo):
    wide = torch.cat([demo.both, demo.both], dim=3)
    latents = [{"samples": demo.both[:1]}, {"samples": wide[:1]}, {"samples": wide[1:]}]
    texts = [demo.first, demo.second, demo.first]
    plain = trained("plain", latents=latents, texts=texts)
    buckets = ResolutionBucket.execute(latents, texts)
    bucketed = trained("bucketed", latents=buckets[0], texts=buckets[1])
    assert all(torch.equal(tensor, bucketed.lora[key]) for key, tensor in plain.lora.items())


def test_v_prediction_trains(trained, demo):
    model = ModelSamplingDiscrete().patch(demo.model, "v_prediction", False)[0]
    assert all(torch.tensor(row)[:3].isfinite().all() for row in trained("v", model=model).log)


def test_the_pace_of_walks_trains_with_the_guidance_that_was_asked_for(trained, stopped_at, pack_module):
    plain, paced = trained("plain", steps=2), trained("paced", steps=2, pace_lambda=1.0, pace_cfg=3.0)
    place = pack_module("smooth_lora.training.loop").LOG_COLUMNS.index("unevenness")
    assert all(row[place] > 0 for row in paced.log) and not any(row[place] for row in plain.log)
    other = trained("other", steps=2, pace_lambda=1.0, pace_cfg=1.0, empty=[])
    assert other.log[0][place] != paced.log[0][place]
    assert not all(torch.equal(tensor, paced.lora[key]) for key, tensor in plain.lora.items())
    stopped_at(12)  # in the second step
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        trained("broken", steps=2, pace_lambda=1.0, pace_cfg=3.0)
    resumed = trained("broken", steps=2, pace_lambda=1.0, pace_cfg=3.0)
    assert resumed.resumed == 1 and all(torch.equal(tensor, paced.lora[key]) for key, tensor in resumed.lora.items())


def test_bfloat16_gives_nearly_the_same_base_gradient(trained):
    """One step without the regulariser, whose difference wants float32."""
    full, half = (
        trained(precision, steps=1, svr_lambda=0.0, precision=precision) for precision in ("float32", "bfloat16")
    )
    assert half.log[0][0] == pytest.approx(full.log[0][0], rel=0.05) and half.log[0][0] != full.log[0][0]
    assert half.log[0][6] == pytest.approx(full.log[0][6], rel=0.1)  # the length of the gradient
    assert {tensor.dtype for tensor in half.lora.values()} == {torch.float32}


def test_without_an_empty_text_no_caption_is_left_empty(trained):
    without, never = trained("without", empty=[]), trained("never", empty_share=0.0)
    assert all(torch.equal(tensor, never.lora[key]) for key, tensor in without.lora.items())


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_weights_of_less_precision_are_trained_beside_in_float32(trained, demo, stored):
    """As if the same numbers had been stored in float32."""
    ends = []
    for dtype in (stored, torch.float32):
        model = lora_models.tiny(dtype=stored)
        if dtype == torch.float32:
            single = lora_models.tiny(dtype=torch.float32)
            for less, whole in zip(model.model.parameters(), single.model.parameters(), strict=True):
                whole.data.copy_(less.data.float())
            model = single
        assert model.model.get_dtype() == dtype
        computing = model.model.get_dtype_inference()
        ends.append(trained(f"{stored} {dtype}", model=model, steps=2).lora)
        comfy.model_management.load_models_gpu([model])  # for whoever comes next
        assert model.model.get_dtype_inference() == computing
        lora_models.unload()
    for key, tensor in ends[0].items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, ends[1][key], rtol=1e-3, atol=1e-4)


def test_another_seed_and_every_target_train_otherwise(trained):
    first, other = trained("one"), trained("two", seed=3)
    assert not torch.equal(next(iter(first.lora.values())), next(iter(other.lora.values())))
    assert len(trained("all", targets="every linear and convolution layer", rank=2, steps=1).lora) > 60


REFUSED = {
    "no pictures": (lambda d: {"latents": []}, "^Train Smooth-LoRA: there are no pictures to train on"),
    "captions missing": (
        lambda d: {"latents": [{"samples": d.both}] * 2, "texts": [d.first] * 3},
        "there are 4 pictures but 3 texts; give every picture a caption",
    ),
    "no texts": (lambda d: {"texts": []}, "there are 2 pictures but 0 texts"),
    "nan latent": (lambda d: {"latents": [{"samples": d.both * torch.nan}]}, "latent 1 holds 512 NaN or infinite"),
    "empty latent": (lambda d: {"latents": [{"samples": d.both}, {"samples": d.both * 0}]}, "latent 2 is empty"),
    "channels": (
        lambda d: {"latents": [{"samples": d.both.repeat(1, 4, 1, 1)}]},
        r"latent 1 has the shape \(2, 16, 8, 8\), but this model's have 4 channels",
    ),
    "one dimension": (lambda d: {"latents": [{"samples": d.both[0, 0, 0]}]}, r"latent 1 has the shape \(8,\)"),
    "nested": (
        lambda d: {"latents": [{"samples": comfy.nested_tensor.NestedTensor([d.both, d.both])}]},
        "latent 1: this LATENT nests several latents",
    ),
    "batch of texts": (
        lambda d: {"texts": [[[torch.cat([d.first[0][0]] * 2), {}]]]},
        r"text 1 is \(2, 77, 768\) where one text \[1, tokens, width\] is expected",
    ),
    "text of nothing": (lambda d: {"texts": [[[None, {}]]]}, "text 1 is NoneType where one text"),
    "nan text": (lambda d: {"texts": [[[d.first[0][0] * torch.nan, {}]]]}, "text 1 holds 59136 NaN"),
    "two empty texts": (lambda d: {"empty": [d.empty, d.empty]}, "empty_text holds 2 conditionings"),
    "a text with an object": (
        lambda d: {"texts": [[[d.first[0][0], {"control": object()}]]]},
        "a text carries something that a training cannot hold on to",
    ),
    "rank": (lambda d: {"rank": 400}, r"rank is 400, but the layer \S+ \[320, 320\], the largest, has room for"),
    "rank 0": (lambda d: {"rank": 0}, "rank is 0"),
    "optimizer": (lambda d: {"optimizer": "best"}, "optimizer must be adamw or adafactor"),
    "pace without a text": (
        lambda d: {"pace_lambda": 1.0, "empty": []},
        "^Train Smooth-LoRA: pace_lambda draws walks at cfg 7.5, which needs the empty text",
    ),
    "not a diffusion model": (
        lambda d: {"model": ModelSamplingDiscrete().patch(d.model, "img_to_img", False)[0]},
        r"^Train Smooth-LoRA: this model predicts in a way \(.*\) that has no training here",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_refused_before_any_call(trained, demo, monkeypatch, case):
    inputs, sentence = REFUSED[case]

    def no_call(*args, **kwargs):
        raise AssertionError("the model was called before the refusal")

    monkeypatch.setattr(comfy.model_base.BaseModel, "apply_model", no_call)
    with pytest.raises(ValueError, match=sentence) as refused:
        trained("refused", **inputs(demo))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["", ".", "..", " ", "a/b", "..\\x", "x" * 101, "a\0b", "x.", "C:x"])
def test_names_that_are_no_file_names(trained, kept, name):
    with pytest.raises(ValueError, match="^Train Smooth-LoRA: name .* makes no file name"):
        trained(name)
    assert not kept.exists()


def test_a_kept_run_with_other_settings_or_pictures_is_not_gone_on_with(trained, demo):
    trained("kept", steps=1)
    for changed, sentence in (
        ({"learning_rate": 1e-4}, "training with learning_rate 0.001, but now it is 0.0001"),
        ({"rank": 4}, "holds a training with rank '8', but now it is '4'"),
        ({"latents": [{"samples": demo.both + 1e-3}]}, "holds a training with pictures"),
        ({"model": ModelSamplingDiscrete().patch(demo.model, "v_prediction", False)[0]}, "holds a training with model"),
    ):
        with pytest.raises(ValueError, match=sentence):
            trained("kept", **changed)
    assert trained("kept", steps=2).resumed == 1


def test_a_loss_that_is_not_finite_names_the_step(trained, monkeypatch):
    inner, calls = comfy.model_base.BaseModel.apply_model, []

    def apply_model(self, *args, **kwargs):
        calls.append(1)
        return inner(self, *args, **kwargs) * (torch.nan if len(calls) > 3 else 1)

    monkeypatch.setattr(comfy.model_base.BaseModel, "apply_model", apply_model)
    with pytest.raises(ValueError, match="^training: step 2 gave a loss of nan"):
        trained("nan")
    monkeypatch.setattr(comfy.model_base.BaseModel, "apply_model", inner)
    assert trained("nan").resumed == 1  # the first step is on disk


def test_a_disk_that_takes_nothing_is_named(trained, kept):
    kept.parent.mkdir(parents=True)
    kept.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="^Train Smooth-LoRA: the folder .* cannot be made .*; move what is in its place"):
        trained("full")


def test_a_disk_that_is_full_later_is_named_and_the_run_before_stays(trained, monkeypatch, pack_module):
    trained("full", steps=1)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pack_module("smooth_lora.files.whole"), "save_file", fail)
    with pytest.raises(OSError, match="'full.training.safetensors' could not be written .*No space left"):
        trained("full", steps=2)


@pytest.fixture
def lists(demo):
    """lists(...) -> inputs of the node, which come as lists: two steps on two pictures unless others are given."""

    def make(**changed) -> dict:
        return {
            "model": [demo.model],
            "latents": [{"samples": demo.both}],
            "positive": [demo.first, demo.second],
            "svr_lambda": [1.0],
            "rank": [4],
            "targets": ["attention"],
            "steps": [2],
            "batch_size": [2],
            "learning_rate": [1e-3],
            "seed": [1],
            "empty_text": [demo.empty],
            **changed,
        }

    return make


def test_the_node_trains_on_what_the_host_s_dataset_nodes_give(host_pack, demo, kept, lists):
    """Inputs come as lists; the outputs go into the stock loader and its loss graph."""
    texts = [demo_scene.FIRST.text, demo_scene.SECOND.text]
    made = MakeTrainingDataset.execute([demo.pictures[:1], demo.pictures[1:]], [demo.vae], [demo.clip], texts)
    wires = lists(name=["node"], latents=made[0], positive=made[1])
    lora, losses, text, strips, record = host_pack.node("SmoothLoRATrainer").execute(**wires).result
    assert isinstance(strips, ExecutionBlocker) and "wire a Training Check" in strips.message
    assert json.loads(record)["rank"] == 4 and json.loads(record)["data"]
    assert len(losses["loss"]) == 2 and len(lora) == 48
    assert text.startswith("node: 2 steps of 2 pictures, lambda 1, first_order, rank 4 on 24 layers")
    assert "node.training.safetensors" in text and "No empty_text" not in text
    patched = LoraModelLoader.execute(demo.model, lora, 1.0)[0]
    assert len(patched.patches) == 24
    bare = host_pack.node("SmoothLoRATrainer").execute(**{**wires, "name": ["bare"], "empty_text": None}).result[2]
    assert "No empty_text was wired" in bare


@pytest.fixture
def a_check(host_pack, demo, pack_module, monkeypatch):
    """a_check(...) -> what the Training Check node gives, with two pictures and two short walks."""
    monkeypatch.setattr(pack_module("smooth_lora.training.held_out"), "CHECK_ROWS", 16)

    def make(**changed):
        given = {
            "clip": demo.clip,
            "vae": demo.vae,
            "prompts": f"{demo_scene.FIRST.text}\n{demo_scene.SECOND.text}",
            "negative_prompt": "",
            "seed": 3,
            "steps": 2,
            "cfg": 2.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "width": 64,
            "height": 64,
            "frames": 3,
            "latents": {"samples": demo.both},
            "positive": demo.first + demo.second,
            "model": demo.model,
            **changed,
        }
        lists = {name: [value] for name, value in given.items() if value is not None}
        return host_pack.node("SmoothTrainingCheck").execute(**lists).result[0]

    return make


def test_checks_change_nothing_in_the_training_and_are_what_the_benchmark_finds(
    trained, a_check, demo, host_pack, pack_module, kept, tmp_path
):
    plain, checked = trained("plain", ema=0.5), trained("checked", ema=0.5, check=a_check(), check_every=2)
    assert plain.log == checked.log and not plain.checks and plain.strips is None
    assert all(torch.equal(tensor, checked.lora[key]) for key, tensor in plain.lora.items())
    assert [row[0] for row in checked.checks] == [0, 2, 3] and checked.strips.shape == (3, 64, 3 * 64, 3)
    assert not torch.equal(checked.strips[0], checked.strips[2])
    with_lora = LoraModelLoader.execute(demo.model, checked.lora, 1.0)[0]
    for model, row in ((demo.model, checked.checks[0]), (with_lora, checked.checks[2])):
        check = a_check()
        benchmark = pack_module("nodes.scores.benchmark").Benchmark(
            {"model": model}, demo.clip, demo.vae, check.prompts, check.seed, check.setting
        )
        rows = benchmark.run(pack_module("smooth_lora.scores.rows").Journal(tmp_path / f"{row[0]}.jsonl"))["model"]
        assert row[1:4] == pytest.approx(
            [sum(getattr(r.scores, name) for r in rows) / len(rows) for name in ("istd", "cv", "mean_distance")],
            rel=1e-5,
        )
    assert 0 < checked.checks[0][4] < 0.2 and checked.checks[0][4] != checked.checks[2][4]


def test_a_check_that_was_stopped_is_made_when_the_training_goes_on(trained, a_check, stopped_at, kept):
    whole = trained("whole", check=a_check(), check_every=2)
    stopped_at(1 + 4 + 2 * 3 + 3)  # in a walk of the second check: the first one's loss and walks, two steps, a loss
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        trained("broken", check=a_check(), check_every=2)
    resumed = trained("broken", check=a_check(), check_every=2)
    assert resumed.checks == whole.checks and torch.equal(resumed.strips, whole.strips)
    assert all(torch.equal(tensor, whole.lora[key]) for key, tensor in resumed.lora.items())
    assert not list(kept.glob("*.part"))


def test_another_check_starts_its_own_table(trained, a_check):
    trained("more", steps=2, check=a_check())
    other = trained("more", steps=3, check=a_check(frames=4))
    assert other.resumed == 2 and [row[0] for row in other.checks] == [3] and other.strips.shape[2] == 4 * 64
    without = trained("more", steps=3, check=a_check(latents=None, positive=None, model=None))
    assert [row[0] for row in without.checks] == [3] and without.checks[0][4] != without.checks[0][4]


def test_a_check_names_what_it_lacks(a_check, demo):
    for changed, sentence in (
        ({"model": None}, "^Training Check: latents are wired, but no model"),
        ({"positive": None}, "^Training Check: there are 2 pictures but 0 texts"),
        ({"prompts": " \n"}, "prompts is empty"),
        ({"latents": {"samples": demo.both * torch.nan}}, "^Training Check: latent 1 holds"),
        ({"latents": {"samples": demo.both[:, :2]}}, "^Training Check: latent 1 has the"),
    ):
        with pytest.raises(ValueError, match=sentence):
            a_check(**changed)


def test_the_report_and_the_record_speak_of_the_checks(trained, a_check):
    found = trained("told", check=a_check())
    assert "On texts and pictures held out:" in found.report()
    record = json.loads(found.record())
    assert record["istd_before"] == found.checks[0][1] and record["base_after"] == found.checks[-1][4]
    assert record["base_model"] == found.facts["model"] and record["steps"] == 3


def test_the_page_is_told_losses_checks_and_strips(
    on_page, kept, a_check, sent, tmp_path, pack_module, monkeypatch, lists
):
    monkeypatch.setattr(pack_module("nodes.training.shown"), "SECONDS_BETWEEN_MESSAGES", 0.0)
    monkeypatch.setattr(pack_module("nodes.training.shown"), "MESSAGE_TIME_SHARE", float("inf"))
    wires = lists(name=["shown"], steps=[4], check=[a_check()], check_every=[2])
    out = on_page("SmoothLoRATrainer")(**wires)
    assert {(event, data["node"], to) for event, data, to in sent} == {("smooth_diffusion.training", "7", "page")}
    told = [data for _, data, _ in sent]
    assert [(data["step"], len(data["rows"]), len(data["checks"])) for data in told] == [
        (0, 0, 1),
        (1, 1, 1),
        (2, 2, 1),
        (2, 2, 2),
        (3, 3, 2),
        (4, 4, 2),
        (4, 4, 3),
    ]
    (data,) = out.ui["smooth_training"]
    assert json.loads(json.dumps(data, allow_nan=False)) == {
        key: value for key, value in told[-1].items() if key != "node"
    }
    assert [row[data["columns"].index("base")] for row in data["rows"]] == pytest.approx(out[1]["loss"])
    assert list(data["strips"]) == ["0", "2", "4"] and data["check_columns"][1] == "istd"
    for place, file in enumerate(data["strips"].values()):
        strip = np.asarray(Image.open(tmp_path / "temp" / data["subfolder"] / file), dtype=np.float32) / 255
        np.testing.assert_allclose(strip, out[3][place].numpy(), atol=1e-6)


def test_a_run_taken_up_tells_all_that_was_before_and_a_temp_folder_costs_it_nothing(
    on_page, kept, sent, a_check, tmp_path, caplog, lists
):
    wires = lists(name=["again"], svr_lambda=[0.0], check=[a_check()])
    run = on_page("SmoothLoRATrainer")
    run(**wires)
    (tmp_path / "temp").rename(tmp_path / "before")
    (tmp_path / "temp").write_text("a file where the folder should be", encoding="utf-8")
    out = run(**{**wires, "steps": [3]})
    (data,) = out.ui["smooth_training"]
    assert len(data["rows"]) == 3 and len(data["checks"]) == 3 and data["strips"] == {}
    assert len(out[3]) == 3
    assert "the page cannot show the strip of step 0: ComfyUI's temp folder could not be written" in caplog.text


def test_memory_that_runs_out_keeps_what_was_trained(host_pack, kept, monkeypatch, lists):
    wires = lists(name=["full"], svr_lambda=[0.0], steps=[3])
    inner, calls = comfy.model_base.BaseModel.apply_model, []

    def apply_model(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")
        return inner(self, *args, **kwargs)

    monkeypatch.setattr(comfy.model_base.BaseModel, "apply_model", apply_model)
    train = host_pack.node("SmoothLoRATrainer").execute
    with pytest.raises(torch.OutOfMemoryError, match="memory ran out, and what was trained so far is kept; turn on"):
        train(**wires)
    assert "taken up again after step 1" in train(**wires).result[2]
