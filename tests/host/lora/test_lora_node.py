"""The Smooth-LoRA Loader as its user meets it: reports, refusals, an untouched input."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import comfy.supported_models
import folder_paths
import lora_models
import lora_styles
import pytest
import torch
from lora_models import denoised
from safetensors.torch import save_file

from devtools.client import HostError

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def model():
    made = lora_models.tiny()
    yield made
    lora_models.unload()


@pytest.fixture(scope="module")
def names(model) -> dict[str, str]:
    return lora_models.host_names(model)


@pytest.fixture
def good(model, names) -> Tensors:
    return lora_styles.peft()(lora_styles.random_pairs(lora_models.shapes(model, names), rank=4))


@pytest.fixture
def loras(tmp_path: Path) -> Iterator[Path]:
    paths = folder_paths.folder_names_and_paths["loras"][0]
    paths.append(str(tmp_path))
    yield tmp_path
    paths.remove(str(tmp_path))


@pytest.fixture
def load(node, loras: Path) -> Callable:
    def run(model, tensors: Tensors | bytes, file: str = "x.safetensors", **options):
        if isinstance(tensors, bytes):
            (loras / file).write_bytes(tensors)
        else:
            whole = {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in tensors.items()}
            save_file(whole, loras / file, metadata=options.pop("metadata", None))
        return node("SmoothLoRALoader").execute(model, file, **options).result

    return run


def state(model) -> dict[str, object]:
    """Everything a node could have changed on a model, comparable."""
    return {
        "patches": {key: list(patches) for key, patches in model.patches.items()},
        "uuid": model.patches_uuid,
        "wrappers": {
            kind: {key: list(some) for key, some in by_key.items()} for kind, by_key in model.wrappers.items()
        },
        "callbacks": str(model.callbacks),
        "injections": dict(model.injections),
        "options": str(model.model_options),
        "objects": dict(model.object_patches),
        "attachments": dict(model.attachments),
        "injected": model.is_injected,
        "weight wrappers": dict(model.weight_wrapper_patches),
        "hooks": dict(model.hook_patches),
        "models": dict(model.additional_models),
    }


@pytest.mark.parametrize("options", [{}, {"strength": 0.0}, {"end_percent": 0.5}], ids=["merged", "zero", "ranged"])
def test_the_model_wired_in_stays_as_it_was(model, load, good, options: dict):
    stacked = load(load(model, good)[0], good, end_percent=0.25)[0]  # an input that carries LoRAs itself
    before = state(stacked)
    out = load(stacked, good, **options)[0]
    assert out is not stacked and out.model is stacked.model and state(stacked) == before
    denoised(out, [3.0, 0.3])
    assert state(stacked) == before


def test_weights_are_bit_equal_after_unloading(model, load, good):
    lora_models.unload()
    before = {key: weight.clone() for key, weight in model.model.state_dict().items()}
    denoised(load(model, good)[0], [3.0])
    assert any(
        not torch.equal(weight, before[key]) for key, weight in model.model.state_dict().items()
    )  # it was loaded
    denoised(load(model, good, end_percent=0.5)[0], [3.0])
    lora_models.unload()
    after = model.model.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[key], before[key]) for key in before)


def test_the_file_s_tensors_are_not_shared_with_the_patches_of_another_load(model, load, good):
    first, second = load(model, good)[0], load(model, good)[0]
    for key, [(_, adapter, *_)] in first.patches.items():
        assert adapter is not second.patches[key][0][1]


def test_report_of_a_merged_lora(model, load, good):
    report = load(model, good, strength=0.5, metadata={"smooth_steps": "400", "ss_tag_frequency": "x" * 999})[1]
    assert re.fullmatch(
        r"x\.safetensors \(sha256 [0-9a-f]{10}\), made for Stable Diffusion 1\.x \(text width 768\), on SD15 "
        r"\(Stable Diffusion "
        r"1\.x, text width 768\)\n96 of 96 tensors matched: 48 pairs of rank 4\nkeys: PEFT\n"
        r"cross-attention: q \d, k \d, v \d, out \d\nself-attention: q \d, k \d, v \d, out \d\n"
        r"strength 0\.5 over the whole sampling range, merged into the weights\nsmooth_steps: 400".replace(
            "96", str(len(good))
        ).replace("48", str(len(good) // 2)),
        report,
    ), report


def test_report_of_a_ranged_lora_names_the_sigmas(model, load, good):
    report = load(model, good, start_percent=0.0, end_percent=0.5)[1]
    half = model.get_model_object("model_sampling").percent_to_sigma(0.5)
    assert (
        f"strength 1 from 0 to 0.5 of the sampling range, at steps with sigma 14.61 to {half:.4g}; a run "
        "without a step in "
        "there leaves the model as it is"
    ) in report


def test_strength_zero_is_the_bare_model_and_says_so(model, load, good):
    out, report = load(model, good, strength=0.0, end_percent=0.5)
    assert not out.patches and not out.wrappers and out is not model
    assert "strength 0: the model is unchanged" in report


def with_text_encoder(good: Tensors) -> Tensors:
    te = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    return good | {f"{te}.lora_up.weight": torch.ones(3072, 4), f"{te}.lora_down.weight": torch.ones(4, 768)}


def test_a_partial_match_is_applied_when_allowed(model, load, good):
    tensors = with_text_encoder(good) | {
        "unet.up_blocks.9.attentions.0.to_q.lora_A.weight": torch.ones(4, 32),
        "unet.up_blocks.9.attentions.0.to_q.lora_B.weight": torch.ones(32, 4),
    }
    out, report = load(model, tensors, allow_partial=True)
    assert len(out.patches) == len(good) // 2
    assert f"{len(good)} of {len(good) + 4} tensors matched" in report
    assert "no place for 4 tensors: 'lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight', " in report
    assert "2 of them are for the text encoder, which this node does not change" in report


SDXL = {
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k": (640, 2048),
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q": (640, 640),
}
FLUX = {"transformer.single_transformer_blocks.0.attn.to_q": (64, 64)}
BASES = r"it was made for (?P<made>.+) and the model is SD15 \(Stable Diffusion 1\.x, text width 768\)"
ADVICE = "load a checkpoint of the LoRA's kind, or choose another LoRA$"


def changed(good: Tensors, edit: Callable[[str, torch.Tensor], torch.Tensor | None]) -> Tensors:
    """The LoRA with its first tensor edited, or left out."""
    first, *rest = sorted(good)
    tensor = edit(first, good[first])
    return {key: good[key] for key in rest} | ({} if tensor is None else {first: tensor})


BAD = {
    "sdxl lora": (
        lambda good: lora_styles.peft()(lora_styles.random_pairs(SDXL)),
        {},
        r"^'x.safetensors' is for another base model: "
        + BASES.replace("(?P<made>.+)", r"SDXL \(text width 2048\)")
        + "; "
        + ADVICE,
    ),
    "nothing matches": (
        lambda good: lora_styles.peft("")(lora_styles.random_pairs(FLUX)),
        {"allow_partial": True},
        r"^'x.safetensors' matches nothing in the model \(first: "
        r"'transformer.single_transformer_blocks.0.attn.to_q"
        r".*\): " + BASES.replace("(?P<made>.+)", "Flux") + "; " + ADVICE,
    ),
    "shapes": (
        lambda good: {
            key: tensor[:, :-1] if "lora_A" in key and "attn2.to_k" not in key and "attn2.to_v" not in key else tensor
            for key, tensor in good.items()
        },
        {"allow_partial": True},
        r"^'x.safetensors' does not fit \d+ of \d+ weights of the model \(first: \S+ has up \[\d+, 4\] and "
        r"down \[4, \d+\] "
        r"for a weight \[\d+, \d+\]\): " + BASES + "; " + ADVICE,
    ),
    "partly": (
        lambda good: (
            good
            | {"unet.nowhere.to_q.lora_A.weight": torch.ones(4, 3), "unet.nowhere.to_q.lora_B.weight": torch.ones(3, 4)}
        ),
        {},
        r"^'x.safetensors' matches only in part: 2 of \d+ tensors have no place in the model \(first: "
        r"'unet.nowhere.to_q."
        r"lora_B.weight', 'unet.nowhere.to_q.lora_A.weight'\); " + BASES + "; choose a LoRA for this model, or turn on "
        "allow_partial to use the rest$",
    ),
    "text encoder": (
        with_text_encoder,
        {},
        r"2 of \d+ tensors have no place in the model .*, 2 of them for the text encoder, "
        "which this node does not change; ",
    ),
    "twice": (
        lambda good: good | {key.replace("unet.", "base_model.model."): tensor for key, tensor in good.items()},
        {},
        r"^'x.safetensors' changes diffusion_model\.\S+ twice, as base_model.model.\S+ and as unet.\S+; save "
        r"each LoRA in it "
        "as a file of its own$",
    ),
    "nan": (
        lambda good: changed(good, lambda key, tensor: tensor * float("nan")),
        {},
        "holds NaN or infinity .*use another one$",
    ),
    "inf": (lambda good: changed(good, lambda key, tensor: tensor / 0), {}, "holds NaN or infinity"),
    "half": (lambda good: changed(good, lambda key, tensor: None), {}, "has only half of the pair for unet"),
    "rank": (
        lambda good: changed(good, lambda key, tensor: tensor[:-1].clone()),
        {},
        "has matrices of unequal rank for unet",
    ),
    "checkpoint": (
        lambda good: {"model.diffusion_model.out.0.weight": torch.ones(4)},
        {},
        "holds no LoRA pairs among its 1 tensors",
    ),
    "no tensors": (
        lambda good: {},
        {},
        "is a valid safetensors file but holds no tensors; download it again, or choose another LoRA$",
    ),
    "empty": (lambda good: b"", {}, r"^'x.safetensors' is empty \(0 bytes\); download or copy it again$"),
    "truncated": (lambda good: (100).to_bytes(8, "little") + b'{"a"', {}, r"is cut off after 12 of 108 bytes"),
    "text": (lambda good: b"not a model at all", {}, "is not a safetensors file"),
    "pickle": (lambda good: b"\x80\x02}q\x00.", {}, "is a pickled PyTorch file; convert it to safetensors"),
    "strength": (
        lambda good: good,
        {"strength": 11.0},
        r"^Smooth-LoRA Loader: strength must be between -10.0 and 10.0, got 11.0$",
    ),
    "strength nan": (lambda good: good, {"strength": float("nan")}, "strength must be between -10.0 and 10.0, got nan"),
    "start": (
        lambda good: good,
        {"start_percent": -0.1},
        "^Smooth-LoRA Loader: start_percent must be between 0.0 and 1.0",
    ),
    "end": (
        lambda good: good,
        {"end_percent": 1.1},
        "^Smooth-LoRA Loader: end_percent must be between 0.0 and 1.0, got 1.1$",
    ),
    "backwards": (
        lambda good: good,
        {"start_percent": 0.8, "end_percent": 0.2},
        r"^Smooth-LoRA Loader: start_percent \(0.8\) lies after end_percent \(0.2\); swap them$",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_sentence(model, load, good, case: str):
    make, options, sentence = BAD[case]
    before = state(model)
    with pytest.raises(ValueError, match=sentence) as error:
        load(model, make(good), **options)
    assert "\n" not in str(error.value)
    assert state(model) == before


def test_another_base_model_is_named_from_the_model_s_side_too(load, good):
    sdxl = lora_models.unet(
        lora_models.TINY | {"adm_in_channels": 2816, "num_classes": "sequential"},
        text_width=2048,
        config=comfy.supported_models.SDXL,
        device="meta",
    )
    with pytest.raises(
        ValueError,
        match=r"it was made for Stable Diffusion 1.x \(text width 768\) and the model is SDXL \(SDXL, "
        r"text width 2048\)",
    ):
        load(sdxl, good)


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/hostname", "nothing.safetensors", "..\\secret.safetensors", ""]
)
def test_names_outside_of_the_folders_are_refused(model, node, loras: Path, good, name: str):
    save_file(good, loras.parent / "secret.safetensors")
    with pytest.raises(
        ValueError, match="Smooth-LoRA Loader: there is no file '.*' in the loras folders; press R to refresh"
    ):
        node("SmoothLoRALoader").execute(model, name)


def test_files_in_subfolders_are_found(model, node, loras: Path, good):
    (loras / "sub").mkdir()
    save_file(good, loras / "sub" / "y.safetensors")
    assert node("SmoothLoRALoader").execute(model, os.path.join("sub", "y.safetensors")).result[0].patches


def test_a_replaced_file_has_another_fingerprint(node, loras: Path, good):
    loader = node("SmoothLoRALoader")
    path = loras / "x.safetensors"
    save_file(good, path)
    first = loader.fingerprint_inputs("x.safetensors", model=None, strength=1.0)
    assert loader.fingerprint_inputs("x.safetensors", model=None, strength=2.0) == first
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))
    assert loader.fingerprint_inputs("x.safetensors", model=None, strength=1.0) != first


def test_a_name_that_comes_over_a_wire_is_read_anew(node):
    stamp = node("SmoothLoRALoader").fingerprint_inputs(None, model=None)
    assert stamp != stamp


def test_through_the_server(server, client, good):
    """Refused with the sentence, then working, then read again after the file was replaced: in one server."""
    folder = server.base / "models" / "loras"
    prompt = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "smooth_demo.safetensors"}},
        "2": {
            "class_type": "SmoothLoRALoader",
            "inputs": {
                "model": ["1", 0],
                "lora_name": "served.safetensors",
                "strength": 1.0,
                "start_percent": 0.0,
                "end_percent": 1.0,
                "allow_partial": False,
            },
        },
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 1]}},
    }
    (folder / "served.safetensors").write_bytes(b"")
    with pytest.raises(HostError, match=r"'served.safetensors' is empty \(0 bytes\); download or copy it again"):
        client.run(prompt)
    block = "down_blocks.0.attentions.0.transformer_blocks.0"
    for rank in (4, 2):
        pairs = lora_styles.random_pairs({f"{block}.attn1.to_q": (320, 320), f"{block}.attn2.to_k": (320, 768)}, rank)
        save_file(lora_styles.diffusers()(pairs), folder / "served.safetensors")
        [report] = client.run(prompt)["3"]["text"]
        assert f"4 of 4 tensors matched: 2 pairs of rank {rank}\nkeys: diffusers\n" in report
    (folder / "served.safetensors").unlink()
    with pytest.raises(HostError, match="served.safetensors"):
        client.run(prompt)
