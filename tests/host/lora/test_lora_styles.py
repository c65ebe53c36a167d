"""One LoRA in every style of key names gives bit-equal weights, the stock loader's where that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import comfy.sd
import comfy.supported_models
import comfy.utils
import folder_paths
import lora_models
import lora_styles
import pytest
import torch
from safetensors.torch import save_file

STOCK_READS = {"old diffusers", "old diffusers, bare", "kohya", "kohya, host's names", "comfyui"}
WIDTHS = {"down_blocks": (320, 640, 1280), "up_blocks": (None, 1280, 640, 320)}  # of SD1.5's blocks with attention


@pytest.fixture
def loras(tmp_path: Path) -> Iterator[Path]:
    paths = folder_paths.folder_names_and_paths["loras"][0]
    paths.append(str(tmp_path))
    yield tmp_path
    paths.remove(str(tmp_path))


@pytest.fixture
def load(node, loras: Path):
    def run(model, tensors: dict[str, torch.Tensor], **options):
        save_file(tensors, loras / "test.safetensors")
        return node("SmoothLoRALoader").execute(model, "test.safetensors", **options).result

    return run


def published_keys() -> dict[str, tuple[int, ...]]:
    """The published Smooth-LoRA's keys and shapes, written out from SD1.5's architecture, not by the host."""
    blocks = {f"down_blocks.{n}.attentions.{i}": WIDTHS["down_blocks"][n] for n in range(3) for i in range(2)}
    blocks |= {f"up_blocks.{n}.attentions.{i}": WIDTHS["up_blocks"][n] for n in (1, 2, 3) for i in range(3)}
    blocks["mid_block.attentions.0"] = 1280
    keys = {}
    for block, width in blocks.items():
        for attention, text in (("attn1", width), ("attn2", 768)):
            for part, inputs in (("to_q", width), ("to_k", text), ("to_v", text), ("to_out", width)):
                name = f"unet.{block}.transformer_blocks.0.{attention}.processor.{part}_lora"
                keys |= {f"{name}.down.weight": (8, inputs), f"{name}.up.weight": (width, 8)}
    return keys


@pytest.fixture(scope="module")
def sd15():
    """Full-size SD1.5; only its attention weights are given memory."""
    model = lora_models.unet(lora_models.SD15, dtype=torch.float16, device="meta")
    generator = torch.Generator().manual_seed(5)
    for name in lora_models.host_names(model).values():
        weight = comfy.utils.get_attr(model.model, f"diffusion_model.{name}.weight")
        values = torch.empty(weight.shape, dtype=torch.float16).normal_(std=0.02, generator=generator)
        comfy.utils.set_attr_param(model.model, f"diffusion_model.{name}.weight", values)
    yield model
    del model


def test_the_published_layout_loads_completely_on_full_size_sd15(sd15, load):
    keys = published_keys()
    assert len(keys) == 256
    generator = torch.Generator().manual_seed(6)
    tensors = {key: torch.randn(shape, generator=generator) * 0.02 for key, shape in keys.items()}
    model, report = load(sd15, tensors)
    assert "256 of 256 tensors matched: 128 pairs of rank 8" in report
    assert "keys: diffusers attention processor" in report
    assert (
        "self-attention: q 16, k 16, v 16, out 16\n" in report
        and "cross-attention: q 16, k 16, v 16, out 16\n" in report
    )
    assert "made for Stable Diffusion 1.x (text width 768), on SD15" in report
    assert len(model.patches) == 128 and not sd15.patches
    stock, _ = comfy.sd.load_lora_for_models(sd15, None, tensors, 1.0, 0.0)
    with torch.inference_mode():
        ours, theirs = lora_models.patched_weights(model), lora_models.patched_weights(stock)
        for (key, weight), (stock_key, stock_weight) in zip(ours, theirs, strict=True):
            assert key == stock_key and torch.equal(weight, stock_weight)
            assert not torch.equal(weight, comfy.utils.get_attr(sd15.model, key))


def test_every_style_is_the_same_lora_on_full_size_sd15(sd15, load):
    names = lora_models.host_names(sd15)
    assert len(names) == 128
    pairs = lora_styles.random_pairs(lora_models.shapes(sd15, names), scale=0.02)
    expected = {f"diffusion_model.{names[module]}.weight": pair for module, pair in pairs.items()}
    for style, write in lora_styles.all_styles(names).items():
        model, report = load(sd15, write(pairs))
        assert "pairs of rank 8" in report and model.patches.keys() == expected.keys(), style
        for key, [(strength, adapter, base, offset, function)] in model.patches.items():
            up, down, alpha, *rest = adapter.weights
            assert torch.equal(up, expected[key][0]) and torch.equal(down, expected[key][1]), (style, key)
            assert (strength, base, offset, function) == (1.0, 1.0, None, None) and alpha in (None, 8.0)
            assert rest == [None, None, None]


@pytest.fixture(scope="module")
def tiny():
    return lora_models.tiny(dtype=torch.float16)


@pytest.mark.parametrize("attention_only", [True, False], ids=["attention", "all layers"])
def test_patched_weights_are_bit_equal_in_every_style_and_to_stock(tiny, load, attention_only: bool):
    names = lora_models.host_names(tiny, attention_only)
    pairs = lora_styles.random_pairs(lora_models.shapes(tiny, names), rank=3)
    first, read_by_stock = None, set()
    for style, write in lora_styles.all_styles(names).items():
        tensors = write(pairs)
        weights = dict(lora_models.patched_weights(load(tiny, tensors, strength=0.7)[0]))
        first = first or weights
        assert weights.keys() == first.keys() and len(weights) == len(pairs), style
        assert all(torch.equal(weights[key], first[key]) for key in first), style
        stock, _ = comfy.sd.load_lora_for_models(tiny, None, tensors, 0.7, 0.0)
        if stock.patches.keys() == first.keys():
            read_by_stock.add(style)
            assert all(torch.equal(weight, first[key]) for key, weight in lora_models.patched_weights(stock)), style
    assert read_by_stock >= STOCK_READS


def test_an_alpha_scales_as_in_the_stock_loader(tiny, load):
    names = lora_models.host_names(tiny)
    pairs = lora_styles.random_pairs(lora_models.shapes(tiny, names), rank=4)
    tensors = lora_styles.kohya()(pairs)
    tensors |= {key: torch.tensor(3.0) for key in tensors if key.endswith(".alpha")}
    stock, _ = comfy.sd.load_lora_for_models(tiny, None, tensors, -1.5, 0.0)
    ours = dict(lora_models.patched_weights(load(tiny, tensors, strength=-1.5)[0]))
    assert all(torch.equal(weight, ours[key]) for key, weight in lora_models.patched_weights(stock))


def test_what_the_host_s_own_trainer_writes_loads_as_in_the_stock_loader(tiny, load):
    """TrainLoraNode also stores differences of norms and biases."""
    names = lora_models.host_names(tiny, attention_only=False)
    pairs = lora_styles.random_pairs(lora_models.shapes(tiny, names), rank=2)
    tensors = lora_styles.comfyui(names)(pairs)
    norm = "diffusion_model.middle_block.1.norm"
    tensors |= {f"{norm}.diff": torch.full((64,), 0.25), f"{norm}.diff_b": torch.full((64,), -0.5)}
    stock, _ = comfy.sd.load_lora_for_models(tiny, None, tensors, 1.0, 0.0)
    model, report = load(tiny, tensors)
    ours = dict(lora_models.patched_weights(model))
    assert "2 whole tensors" in report and ours.keys() == stock.patches.keys()
    assert all(torch.equal(weight, ours[key]) for key, weight in lora_models.patched_weights(stock))


def test_tucker_and_dora_load_as_in_the_stock_loader(tiny, load):
    key, out = "lora_unet_input_blocks_1_0_in_layers_2", 32
    g = torch.Generator().manual_seed(1)
    tensors = {
        f"{key}.lora_up.weight": torch.randn(out, 4, 1, 1, generator=g),
        f"{key}.alpha": torch.tensor(2.0),
        f"{key}.lora_down.weight": torch.randn(4, 32, 1, 1, generator=g),
        f"{key}.lora_mid.weight": torch.randn(4, 4, 3, 3, generator=g),
    }
    linear = "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q"
    tensors |= {
        f"{linear}.lora_up.weight": torch.randn(out, 4, generator=g),
        f"{linear}.lora_down.weight": torch.randn(4, 32, generator=g),
        f"{linear}.dora_scale": torch.rand(out, 1, generator=g) + 0.5,
    }
    stock, _ = comfy.sd.load_lora_for_models(tiny, None, tensors, 1.0, 0.0)
    ours = dict(lora_models.patched_weights(load(tiny, tensors)[0]))
    assert ours.keys() == stock.patches.keys() and len(ours) == 2
    assert all(torch.equal(weight, ours[key]) for key, weight in lora_models.patched_weights(stock))


def test_a_model_of_another_family_takes_its_lora(load):
    """Flux's diffusers names end in slices of fused weights."""
    import comfy.model_base
    from comfy.model_patcher import ModelPatcher

    config = comfy.supported_models.Flux(
        {
            "image_model": "flux",
            "in_channels": 16,
            "out_channels": 16,
            "vec_in_dim": 8,
            "context_in_dim": 16,
            "hidden_size": 64,
            "mlp_ratio": 2.0,
            "num_heads": 4,
            "depth": 1,
            "depth_single_blocks": 1,
            "axes_dim": [4, 6, 6],
            "theta": 10000,
            "patch_size": 2,
            "qkv_bias": True,
            "guidance_embed": False,
            "txt_ids_dims": [],
            "dtype": torch.float32,
        }
    )
    flux = lora_models.fill(ModelPatcher(comfy.model_base.Flux(config), lora_models.CPU, lora_models.CPU))
    pairs = lora_styles.random_pairs({f"transformer_blocks.0.attn.to_{part}": (64, 64) for part in "qkv"})
    tensors = lora_styles.peft("transformer.")(pairs)
    model, report = load(flux, tensors)
    stock, _ = comfy.sd.load_lora_for_models(flux, None, tensors, 1.0, 0.0)
    [(key, weight)], [(stock_key, stock_weight)] = (
        lora_models.patched_weights(model),
        lora_models.patched_weights(stock),
    )
    assert key == stock_key and torch.equal(weight, stock_weight)
    assert "6 of 6 tensors matched" in report and "attention: 3" in report
