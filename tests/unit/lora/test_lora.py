"""LoRA as plain tensors: key names, pairs, what a pair adds to a layer."""

from __future__ import annotations

import json

import lora_styles
import pytest
import torch
import torch.nn.functional as F

from smooth_lora.lora.keys import candidate_names, is_text_encoder, module_kind, split_key
from smooth_lora.lora.pairs import LoraPair, lora_output, made_for, text_width
from smooth_lora.lora.parse import parse_lora

BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
HOST_BLOCK = "input_blocks.1.1.transformer_blocks.0"
SHAPES = {f"{BLOCK}.attn1.to_q": (32, 32), f"{BLOCK}.attn1.to_out.0": (32, 32), f"{BLOCK}.attn2.to_k": (32, 768)}
NAMES = {name: name.replace(BLOCK, HOST_BLOCK) for name in SHAPES}
PAIRS = lora_styles.random_pairs(SHAPES, rank=4)
STYLES = lora_styles.all_styles(NAMES)
REPORTED = {
    "old diffusers": "diffusers attention processor",
    "diffusers": "diffusers",
    "peft": "PEFT",
    "kohya": "kohya",
    "comfyui": "ComfyUI",
}


def parse(tensors, metadata=None):
    return parse_lora(tensors, metadata or {}, name="x.safetensors")


@pytest.mark.parametrize("style", STYLES)
def test_every_style_gives_the_same_pairs(style: str):
    lora = parse(STYLES[style](PAIRS))
    assert not lora.unknown and not lora.text_encoder and len(lora.pairs) == len(PAIRS)
    found = {up.data_ptr(): down.data_ptr() for up, down in ((pair.up, pair.down) for pair in lora.pairs)}
    assert found == {up.data_ptr(): down.data_ptr() for up, down in PAIRS.values()}
    assert [pair.scale for pair in lora.pairs] == [1.0] * 3
    assert lora.ranks == (4,) and lora.styles == (REPORTED[style.split(",")[0]],)
    assert text_width(lora.pairs) == 768 and made_for(lora) == "Stable Diffusion 1.x (text width 768)"


@pytest.mark.parametrize("style", STYLES)
def test_every_style_has_a_name_that_the_host_lists(style: str):
    # What ComfyUI's table holds for these modules on SD1.x.
    table = {f"lora_unet_{name.replace('.', '_')}" for name in (*NAMES, *NAMES.values())}
    table |= {f"diffusion_model.{name}" for name in NAMES.values()}
    for pair in parse(STYLES[style](PAIRS)).pairs:
        assert [name for name in candidate_names(pair.name) if name in table], pair.name


def test_the_most_literal_name_comes_first():
    assert candidate_names("transformer.blocks.0.to_q")[0] == "transformer.blocks.0.to_q"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a.b.lora_A.weight", ("a.b", "down")),
        ("a.b.lora_B.default.weight", ("a.b", "up")),
        ("a.lora_A", ("a", "down")),
        ("a.to_k_lora.down.weight", ("a.to_k", "down")),
        ("a.lora.up.weight", ("a", "up")),
        ("a.lora_linear_layer.down.weight", ("a", "down")),
        ("a.alpha", ("a", "alpha")),
        ("a.diff_b", ("a", "diff_b")),
        ("a.lora_mid.weight", ("a", "mid")),
        ("a.weight", None),
        ("a.lora_B.bias", None),
        ("alpha", None),
        (".alpha", None),
    ],
)
def test_keys_split_into_module_and_role(key: str, expected: tuple[str, str] | None):
    assert split_key(key) == expected


@pytest.mark.parametrize(
    ("key", "is_text"),
    [
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.alpha", True),
        ("text_encoder.text_model.x.lora_A.weight", True),
        ("base_model.model.text_model.encoder.x.lora_A.weight", True),
        ("lora_te2_x.alpha", True),
        ("lora_unet_x.alpha", False),
        ("unet.x.lora_A.weight", False),
        ("transformer.x.lora_A.weight", False),
    ],
)
def test_text_encoder_tensors_are_known_by_their_names(key: str, is_text: bool):
    assert is_text_encoder(key) is is_text


@pytest.mark.parametrize(
    ("weight", "dimensions", "kind"),
    [
        ("diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight", 2, ("self-attention", "q")),
        ("diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_out.0.weight", 2, ("cross-attention", "out")),
        ("diffusion_model.input_blocks.1.1.transformer_blocks.0.ff.net.2.weight", 2, ("feed-forward", "")),
        ("diffusion_model.input_blocks.1.1.proj_in.weight", 4, ("convolutions", "")),
        ("diffusion_model.double_blocks.3.img_attn.qkv.weight", 2, ("attention", "")),
        ("diffusion_model.time_embed.0.weight", 2, ("other", "")),
    ],
)
def test_kinds(weight: str, dimensions: int, kind: tuple[str, str]):
    assert module_kind(weight, dimensions) == kind


def test_alpha_over_rank_is_the_scale():
    pair = parse(
        {"m.lora_up.weight": torch.ones(3, 4), "m.lora_down.weight": torch.ones(4, 5), "m.alpha": torch.tensor(2.0)}
    ).pairs[0]
    assert (pair.rank, pair.alpha, pair.scale) == (4, 2.0, 0.5)
    assert pair.keys[0] == "m.lora_up.weight"


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({"unet.lora_alpha": 16, "unet.r": 4}, 4.0),
        ({"lora_alpha": 2}, 0.5),
        ({"transformer.lora_alpha": 8.0}, 2.0),
        ({"unet.lora_alpha": 6, "unet.use_rslora": True}, 3.0),
        ({"unet.r": 4}, 1.0),
        ({}, 1.0),
    ],
)
def test_peft_alpha_is_read_from_the_metadata(settings: dict, scale: float):
    tensors = {"m.lora_B.weight": torch.ones(3, 4), "m.lora_A.weight": torch.ones(4, 5)}
    assert parse(tensors, {"lora_adapter_metadata": json.dumps(settings)}).pairs[0].scale == pytest.approx(scale)


def test_an_alpha_of_the_module_goes_before_that_of_the_metadata():
    tensors = {
        "m.lora_up.weight": torch.ones(3, 4),
        "m.lora_down.weight": torch.ones(4, 5),
        "m.alpha": torch.tensor(4.0),
    }
    assert parse(tensors, {"lora_adapter_metadata": '{"unet.lora_alpha": 8}'}).pairs[0].scale == 1.0


def test_whole_tensors_text_encoder_and_unknown_are_kept_apart():
    lora = parse(
        {
            "m.lora_up.weight": torch.ones(3, 1),
            "m.lora_down.weight": torch.ones(1, 3),
            "m.diff_b": torch.ones(3),
            "n.diff": torch.ones(3),
            "lora_te_x.alpha": torch.tensor(1.0),
            "h.hada_w1_a": torch.ones(2),
            "h.alpha": torch.tensor(1.0),
        }
    )
    assert [(part.name, part.role) for part in lora.replacements] == [("m", "diff_b"), ("n", "diff")]
    assert lora.text_encoder == ("lora_te_x.alpha",) and set(lora.unknown) == {"h.hada_w1_a", "h.alpha"}
    assert lora.tensors == 7


def test_parsing_changes_nothing():
    tensors = STYLES["kohya"](PAIRS)
    before = {key: tensor.clone() for key, tensor in tensors.items()}
    parse(tensors)
    assert tensors.keys() == before.keys() and all(torch.equal(tensors[key], before[key]) for key in before)


@pytest.mark.parametrize(
    ("names", "what"),
    [
        ("transformer.single_transformer_blocks.0.attn.to_q", "Flux"),
        ("lora_unet_single_blocks_3_linear1", "Flux"),
        ("diffusion_model.joint_blocks.0.x_block.attn.qkv", "Stable Diffusion 3"),
        ("whatever", "a model it does not name"),
    ],
)
def test_models_without_a_text_width_are_known_by_names(names: str, what: str):
    assert (
        made_for(parse({f"{names}.lora_B.weight": torch.ones(3, 1), f"{names}.lora_A.weight": torch.ones(1, 3)}))
        == what
    )


@pytest.mark.parametrize(
    ("width", "what"),
    [
        (1024, "Stable Diffusion 2.x (text width 1024)"),
        (2048, "SDXL (text width 2048)"),
        (999, "a model (text width 999)"),
    ],
)
def test_text_widths(width: int, what: str):
    pairs = lora_styles.random_pairs({f"{BLOCK}.attn2.to_v": (32, width)})
    assert made_for(parse(lora_styles.old_diffusers()(pairs))) == what


def test_two_text_widths_say_nothing():
    pairs = lora_styles.random_pairs({f"{BLOCK}.attn2.to_v": (32, 768), f"{BLOCK}.attn2.to_k": (32, 1024)})
    assert text_width(parse(lora_styles.peft()(pairs)).pairs) is None


def pair_of(up, down, mid=None, dora=None) -> LoraPair:
    return LoraPair(
        name="m",
        keys=(),
        up=torch.ones(up),
        down=torch.ones(down),
        mid=None if mid is None else torch.ones(mid),
        dora_scale=None if dora is None else torch.ones(dora),
    )


@pytest.mark.parametrize(
    ("pair", "weight", "fits"),
    [
        (pair_of((6, 2), (2, 5)), (6, 5), True),
        (pair_of((6, 2), (2, 5)), (5, 6), False),
        (pair_of((6, 2), (2, 5)), (6, 5, 1, 1), True),  # a linear pair on a 1x1 convolution, as SD1.x's proj_in
        (pair_of((6, 2, 1, 1), (2, 5, 3, 3)), (6, 5, 3, 3), True),
        (pair_of((6, 2, 1, 1), (2, 5, 3, 3)), (6, 5, 1, 1), False),
        (pair_of((6, 2, 1, 1), (2, 5, 1, 1), (2, 2, 3, 3)), (6, 5, 3, 3), True),
        (pair_of((6, 2), (2, 5)), (30,), False),
        (pair_of((6, 2), (2, 5), dora=(6, 1)), (6, 5), True),
        (pair_of((6, 2), (2, 5), dora=(7, 1)), (6, 5), False),
    ],
)
def test_a_pair_fits_a_weight_of_its_product_s_shape(pair: LoraPair, weight: tuple[int, ...], fits: bool):
    assert pair.fits(weight) is fits


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_linear_output_by_hand():
    out = lora_output(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]), torch.tensor([[5.0], [6.0]]), scale=0.5)
    assert torch.equal(out, torch.tensor([[27.5, 33.0]]))  # 0.5 * (5, 6) * (1*3 + 2*4)


def test_linear_output_is_that_of_the_merged_weight():
    g = generator()
    x, up, down = (torch.randn(2, 7, 12, generator=g), torch.randn(9, 3, generator=g), torch.randn(3, 12, generator=g))
    merged = F.linear(x, 0.7 * up @ down)
    torch.testing.assert_close(lora_output(x, down, up, scale=0.7), merged, rtol=1e-5, atol=1e-5)  # float32 sums of 12


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("tucker", [False, True])
def test_convolution_output_is_that_of_the_merged_weight(dimensions: int, tucker: bool):
    g = generator()
    kernel, ones = (3,) * dimensions, (1,) * dimensions
    x = torch.randn(2, 6, *(8,) * dimensions, generator=g)
    up = torch.randn(5, 4, *ones, generator=g)
    down = torch.randn(4, 6, *(ones if tucker else kernel), generator=g)
    mid = torch.randn(4, 4, *kernel, generator=g) if tucker else None
    weight = (
        torch.einsum("oa,ab...,bi->oi...", up.flatten(1), mid, down.flatten(1))
        if tucker
        else (up.flatten(1) @ down.flatten(1)).reshape(5, 6, *kernel)
    )
    convolve = (F.conv1d, F.conv2d, F.conv3d)[dimensions - 1]
    options = {"stride": 2, "padding": 1, "dilation": 1}
    out = lora_output(x, down, up, mid, scale=1.5, convolution=options | {"kernel": kernel})
    torch.testing.assert_close(
        out, convolve(x, 1.5 * weight, **options), rtol=1e-4, atol=1e-4
    )  # float32 sums of 6 * 27


def test_a_linear_pair_on_a_one_by_one_convolution():
    g = generator()
    x, up, down = (torch.randn(2, 6, 4, 4, generator=g), torch.randn(5, 3, generator=g), torch.randn(3, 6, generator=g))
    out = lora_output(x, down, up, scale=1.0, convolution={"stride": 1, "padding": 0, "dilation": 1, "kernel": (1, 1)})
    expected = torch.einsum("oi,bihw->bohw", up @ down, x)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


def test_plus_and_minus_cancel_and_samples_are_independent():
    g = generator()
    x, up, down = (torch.randn(3, 12, generator=g), torch.randn(9, 3, generator=g), torch.randn(3, 12, generator=g))
    assert torch.equal(lora_output(x, down, up, scale=0.3) + lora_output(x, down, up, scale=-0.3), torch.zeros(3, 9))
    torch.testing.assert_close(lora_output(x[1:2], down, up, scale=1.0), lora_output(x, down, up, scale=1.0)[1:2])


GOOD = {"m.lora_up.weight": torch.ones(3, 2), "m.lora_down.weight": torch.ones(2, 5)}


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        (
            {"m.lora_up.weight": torch.ones(3, 2)},
            r"^'x.safetensors' has only half of the pair for m \('m.lora_up.weight' "
            r"without its down matrix\); download it again or save it again$",
        ),
        (
            {"m.lora_A.weight": torch.ones(2, 3)},
            r"only half of the pair for m \('m.lora_A.weight' without its up matrix",
        ),
        ({"m.lora_mid.weight": torch.ones(2, 3)}, r"'m.lora_mid.weight' without its up and down matrix"),
        (
            GOOD | {"m.lora_down.weight": torch.ones(4, 5)},
            r"^'x.safetensors' has matrices of unequal rank for m \(up \[3, 2\], "
            r"down \[4, 5\]\); download it again or save it again$",
        ),
        (GOOD | {"m.lora_up.weight": torch.ones(0, 2)}, "unequal rank"),
        (GOOD | {"m.lora_up.weight": torch.ones(2)}, "unequal rank"),
        (GOOD | {"m.lora_mid.weight": torch.ones(3, 2, 3, 3)}, r"unequal rank for m .*mid \[3, 2, 3, 3\]"),
        (
            GOOD | {"m.lora_down.weight": torch.full((2, 5), float("nan"))},
            r"^'x.safetensors' holds NaN or infinity \(10 of 10 values of 'm.lora_down.weight'\), so the file "
            r"is damaged or its "
            r"training went wrong; use another one$",
        ),
        (GOOD | {"m.alpha": torch.tensor(float("inf"))}, r"NaN or infinity \(1 of 1 values of 'm.alpha'\)"),
        (GOOD | {"m.alpha": torch.ones(2)}, "has 2 values as the alpha of m, not one"),
        (
            GOOD | {"m.lora_A.default.weight": torch.ones(2, 5)},
            r"^'x.safetensors' holds two adapters for m \('m.lora_A.default.weight' "
            r"and 'm.lora_down.weight'\); save each adapter as a file of its own$",
        ),
        (
            {"model.diffusion_model.w": torch.ones(2), "b": torch.ones(1)},
            r"^'x.safetensors' holds no LoRA pairs among its 2 tensors "
            r"\(first: 'b', 'model.diffusion_model.w'\); choose a LoRA file",
        ),
        (
            {"m.hada_w1_a": torch.ones(2), "m.alpha": torch.tensor(1.0)},
            "load a LoHa, LoKr or OFT with the stock 'Load LoRA' node",
        ),
        (
            {"lora_te_x.alpha": torch.tensor(1.0)},
            "^'x.safetensors' holds 1 tensors for the text encoder only, which this node does "
            "not change; load it with the stock 'Load LoRA' node$",
        ),
    ],
)
def test_bad_tensors_are_refused_in_one_sentence(tensors: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence) as error:
        parse(tensors)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        ("{", "damaged PEFT settings"),
        ("[1]", "damaged PEFT settings"),
        ('{"unet.lora_alpha": "many"}', "damaged PEFT settings"),
        ('{"unet.lora_alpha": 4, "unet.alpha_pattern": {"to_q": 8}}', "an alpha of its own for some modules"),
    ],
)
def test_bad_peft_settings_are_refused(stored: str, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        parse(GOOD, {"lora_adapter_metadata": stored})


def test_half_precision_agrees_with_single():
    g = generator()
    x, up, down = (torch.randn(4, 64, generator=g), torch.randn(32, 8, generator=g), torch.randn(8, 64, generator=g))
    half = lora_output(x.half(), down.half(), up.half(), scale=0.25).float()
    torch.testing.assert_close(
        half, lora_output(x, down, up, scale=0.25), rtol=2e-2, atol=5e-2
    )  # 11-bit products of ~10


def test_eight_bit_tensors_are_accepted():
    tensors = {key: tensor.to(torch.float8_e4m3fn) for key, tensor in GOOD.items()}
    assert parse(tensors).pairs[0].up.dtype == torch.float8_e4m3fn
