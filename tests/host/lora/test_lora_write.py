"""A trained LoRA as a file: every style loads everywhere it should, acts alike, and says where it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import comfy.lora
import comfy.sd
import comfy.supported_models
import comfy.utils
import lora_models
import pytest
import torch
from comfy.utils import load_torch_file
from comfy_extras.nodes_train import SaveLoRA
from safetensors import safe_open

pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")
STYLES = ["kohya", "diffusers attention processors", "ComfyUI"]
ATTENTION, EVERYTHING = "attention", "every linear and convolution layer"


@pytest.fixture
def output(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr("folder_paths.output_directory", str(tmp_path))
    return tmp_path


@pytest.fixture
def a_lora(pack_module, demo):
    """a_lora(targets) -> random pairs by the host's names, as the trainer gives them."""

    def make(targets: str = ATTENTION, model=None) -> dict[str, torch.Tensor]:
        shapes = pack_module("nodes.training.targets").target_shapes(
            (model or demo.model).model.diffusion_model, targets
        )
        generator, lora = torch.Generator().manual_seed(1), {}
        for path, shape in shapes.items():
            down, up = (2, *shape[1:]), (shape[0], 2, *[1] * (len(shape) - 2))
            for role, size in (("down", down), ("up", up)):
                lora[f"diffusion_model.{path}.lora_{role}.weight"] = torch.randn(size, generator=generator) * 0.02
        return lora

    return make


@pytest.fixture
def saved(host_pack, demo, output):
    """saved(lora, ...) -> (path, report)."""

    def save(lora, style="kohya", precision="float32", prefix="loras/mine", model=None, **more) -> tuple[Path, str]:
        name, report = (
            host_pack.node("SmoothSaveLoRA").execute(model or demo.model, lora, prefix, style, precision, **more).result
        )
        return output / name, report

    return save


def effect(model, file: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the host's own loader adds to each weight."""
    patched = comfy.sd.load_lora_for_models(model, None, file, 1.0, 0.0)[0]
    return {
        key: comfy.lora.calculate_weight(
            patches, torch.zeros_like(comfy.utils.get_attr(model.model, key), dtype=torch.float32), key
        )
        for key, patches in patched.patches.items()
    }


@pytest.mark.parametrize("style", STYLES)
def test_the_stock_loader_reads_every_style_and_it_acts_as_what_was_trained(saved, a_lora, demo, style):
    lora = a_lora()
    wanted = effect(demo.model, lora)
    found = effect(demo.model, load_torch_file(str(saved(lora, style)[0])))
    assert found.keys() == wanted.keys() and len(found) == 24
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("style", ["kohya", "ComfyUI"])
def test_layers_beyond_attention(saved, a_lora, demo, style):
    lora = a_lora(EVERYTHING)
    wanted = effect(demo.model, lora)
    found = effect(demo.model, load_torch_file(str(saved(lora, style)[0])))
    assert found.keys() == wanted.keys() and len(found) > 40
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("style", STYLES)
def test_our_loader_reads_every_style_and_shows_the_record(saved, a_lora, demo, style, host_pack, monkeypatch):
    path, _ = saved(a_lora(), style, record=json.dumps({"istd_before": 6.0, "name": "mine", "nothing": None}))
    monkeypatch.setattr("folder_paths.get_filename_list", lambda kind: [path.name])
    monkeypatch.setattr("folder_paths.get_full_path_or_raise", lambda kind, name: str(path))
    _, report = host_pack.node("SmoothLoRALoader").execute(demo.model, path.name).result
    assert "48 of 48 tensors matched" in report or "72 of 72 tensors matched" in report
    assert "smooth_lora.istd_before: 6.0" in report and "smooth_lora.name: mine" in report


def test_names_are_those_that_others_look_for(saved, a_lora):
    block = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
    kohya = load_torch_file(str(saved(a_lora())[0]))
    assert f"lora_unet_{block.replace('.', '_')}_to_q.lora_down.weight" in kohya
    assert float(kohya[f"lora_unet_{block.replace('.', '_')}_to_out_0.alpha"]) == 2.0
    published = load_torch_file(str(saved(a_lora(), STYLES[1])[0]))
    assert {f"{block}.processor.to_{part}_lora.up.weight" for part in ("q", "k", "v", "out")} <= published.keys()
    assert not [key for key in published if "alpha" in key]


def test_an_alpha_of_the_stock_trainer_is_kept_or_multiplied_in(saved, a_lora, demo):
    lora = a_lora()
    lora |= {key.replace("lora_up.weight", "alpha"): torch.tensor(1.0) for key in lora if "lora_up" in key}
    wanted = effect(demo.model, lora)
    for style in STYLES:
        found = effect(demo.model, load_torch_file(str(saved(lora, style)[0])))
        for key in wanted:
            torch.testing.assert_close(found[key], wanted[key])


def test_the_file_says_where_it_comes_from(saved, a_lora):
    path, report = saved(a_lora(), record=json.dumps({"svr_lambda": 1.0, "targets": "attention"}))
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata == {
        "smooth_lora.svr_lambda": "1.0",
        "smooth_lora.targets": "attention",
        "ss_network_dim": "2",
        "ss_network_alpha": "2",
        "ss_network_module": "networks.lora",
    }
    assert report.startswith("loras/mine.safetensors: 24 pairs, names of kohya, float32\n")
    assert "svr_lambda: 1.0" in report


def test_nothing_is_written_over(saved, a_lora):
    first, second = saved(a_lora())[0], saved(a_lora(), precision="float16")[0]
    assert (first.name, second.name) == ("mine.safetensors", "mine_2.safetensors")
    assert second.stat().st_size < 0.6 * first.stat().st_size
    assert {tensor.dtype for key, tensor in load_torch_file(str(second)).items()} == {torch.float16}


def test_what_the_stock_node_saves_and_ours_saves_acts_alike(saved, a_lora, demo, output):
    SaveLoRA.execute(a_lora(), "loras/stock")
    (stock,) = output.glob("loras/stock*")
    wanted, found = (
        effect(demo.model, load_torch_file(str(stock))),
        effect(demo.model, load_torch_file(str(saved(a_lora())[0]))),
    )
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_names_of_an_sdxl_follow_the_network(saved, a_lora):
    shape = {**lora_models.TINY, "model_channels": 64}
    model = lora_models.unet(shape, config=comfy.supported_models.SDXL, text_width=2048)
    keys = load_torch_file(str(saved(a_lora(model=model), model=model)[0]))
    assert all(
        key.startswith(("lora_unet_input_blocks_", "lora_unet_middle_block_", "lora_unet_output_blocks_"))
        for key in keys
    )


def large(lora: dict) -> dict:
    name = next(iter(lora))
    return {**lora, name: lora[name] * 1e9}


REFUSED = {
    "feed-forward": (
        lambda lora: {"lora": lora(EVERYTHING), "style": STYLES[1]},
        "^Save Smooth-LoRA: the names of diffusers attention processors do not cover",
    ),
    "another model": (
        lambda lora: {
            "lora": {key.replace("input_blocks.1", "input_blocks.9"): tensor for key, tensor in lora().items()}
        },
        "'lora' matches only in part",
    ),
    "half a pair": (lambda lora: {"lora": dict(list(lora().items())[1:])}, "'lora'"),
    "no LoRA": (lambda lora: {"lora": {"a": torch.ones(1)}}, "'lora'"),
    "too large": (
        lambda lora: {"lora": large(lora()), "precision": "float16"},
        "a number in lora_unet_.* is too large for float16; choose float32",
    ),
    "a whole tensor": (
        lambda lora: {"lora": {**lora(), "diffusion_model.out.2.diff": torch.zeros(4, 320, 3, 3)}},
        "holds diffusion_model.out.2.weight, which is no plain LoRA pair",
    ),
    "no JSON": (lambda lora: {"lora": lora(), "record": "x"}, r"record is no JSON \("),
    "no table": (lambda lora: {"lora": lora(), "record": "[1]"}, "record is a JSON list"),
    "outside": (lambda lora: {"lora": lora(), "prefix": "../mine"}, "leads out of the output folder"),
    "no name": (lambda lora: {"lora": lora(), "prefix": ""}, "makes no file name"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(saved, a_lora, output, case):
    inputs, sentence = REFUSED[case]
    given = inputs(a_lora)
    with pytest.raises(ValueError, match=sentence) as refused:
        saved(**given)
    assert "\n" not in str(refused.value) and not list(output.rglob("*.safetensors"))


def test_a_full_disk_leaves_nothing_behind(saved, a_lora, output, monkeypatch, pack_module):
    def fail(tensors, path, *args):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pack_module("smooth_lora.files.whole"), "save_file", fail)
    with pytest.raises(OSError, match="'mine.safetensors' could not be written .*No space left"):
        saved(a_lora())
    assert not [file for file in output.rglob("*") if file.is_file()]
