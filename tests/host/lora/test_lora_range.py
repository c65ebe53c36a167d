"""A LoRA over a part of the sampling range: exact outside, merged inside, nothing left behind."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import comfy.hooks
import comfy.samplers
import comfy.sd
import folder_paths
import lora_models
import lora_styles
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from lora_models import denoised, text
from safetensors.torch import save_file

# The LoRA is added to a layer's output instead of to its weight, and float32 sums of some hundred terms, some
# tens of layers deep, come out in another order.
INSIDE = {"rtol": 1e-4, "atol": 2e-4}
LEVELS = [12.0, 3.0, 1.0, 0.3]  # sigmas; SD1.x's range from 14.6 to 0.03 has its half at 1.6


@pytest.fixture(scope="module")
def model():
    made = lora_models.tiny()
    yield made
    lora_models.unload()


@pytest.fixture(scope="module")
def pairs(model):
    """Two LoRAs on every layer with a weight: linear, convolution with stride, embedding of the time step."""
    names = lora_models.host_names(model, attention_only=False)
    return [lora_styles.random_pairs(lora_models.shapes(model, names), rank=4, seed=seed) for seed in (1, 2)]


@pytest.fixture
def loras(tmp_path: Path, pairs) -> Iterator[Path]:
    paths = folder_paths.folder_names_and_paths["loras"][0]
    paths.append(str(tmp_path))
    for name, some in zip(("a.safetensors", "b.safetensors"), pairs, strict=True):
        save_file(lora_styles.kohya()(some), tmp_path / name)
    yield tmp_path
    paths.remove(str(tmp_path))


@pytest.fixture
def load(node, loras: Path):
    def run(model, name: str = "a.safetensors", **options):
        return node("SmoothLoRALoader").execute(model, name, **options).result[0]

    return run


def assert_all(answers: list[torch.Tensor], expected: list[torch.Tensor], **tolerance: float) -> None:
    for answer, wanted in zip(answers, expected, strict=True):
        if tolerance:
            torch.testing.assert_close(answer, wanted, **tolerance)
        else:
            assert torch.equal(answer, wanted)


def assert_differ(answers: list[torch.Tensor], others: list[torch.Tensor]) -> None:
    for answer, other in zip(answers, others, strict=True):
        assert (answer - other).abs().max() > 100 * INSIDE["atol"]


def replaced_forwards(model) -> dict[str, object]:
    """The layers whose forward is not that of their class; the host's bypass loader leaves its layers so."""
    return {name: vars(module)["forward"] for name, module in model.model.named_modules() if "forward" in vars(module)}


def test_exact_outside_and_merged_inside(model, load):
    bare, merged = denoised(model, LEVELS), denoised(load(model), LEVELS)
    assert_differ(bare, merged)
    early = denoised(load(model, start_percent=0.0, end_percent=0.5), LEVELS)
    assert_all(early[:2], merged[:2], **INSIDE)
    assert_all(early[2:], bare[2:])
    late = denoised(load(model, start_percent=0.5, end_percent=1.0), LEVELS)
    assert_all(late[:2], bare[:2])
    assert_all(late[2:], merged[2:], **INSIDE)


@pytest.mark.parametrize("strength", [0.35, -1.25])
def test_strength_inside_is_that_of_the_merged_weights(model, load, strength: float):
    merged = denoised(load(model, strength=strength), LEVELS[:2])
    assert_all(denoised(load(model, strength=strength, end_percent=0.5), LEVELS[:2]), merged, **INSIDE)


def test_half_precision_inside(load, pairs):
    # bfloat16 has 8 bits: the merged weight is rounded to them, the pair beside it is not.
    model = lora_models.tiny(dtype=torch.bfloat16)
    bare, merged = denoised(model, LEVELS), denoised(load(model), LEVELS)
    ranged = denoised(load(model, end_percent=0.5), LEVELS)
    assert_all(ranged[2:], bare[2:])
    for answer, wanted, other in zip(ranged[:2], merged[:2], bare[:2], strict=True):
        assert (answer - wanted).norm() < 0.1 * (other - wanted).norm()


def test_both_ends_belong_to_the_range_as_with_the_host_s_conditioning(model, load):
    sampling = model.get_model_object("model_sampling")
    high, low = sampling.percent_to_sigma(0.25), sampling.percent_to_sigma(0.75)
    near = [high * 1.001, high, high * 0.999, low * 1.001, low, low * 0.999]
    ends = {"timestep_start": high, "timestep_end": low, "model_conds": {}, "uuid": None}
    x = lora_models.noise()
    rule = [comfy.samplers.get_area_and_mult(ends, x, torch.tensor([sigma])) is not None for sigma in near]
    bare, ranged = denoised(model, near), denoised(load(model, start_percent=0.25, end_percent=0.75), near)
    assert (
        [not torch.equal(a, b) for a, b in zip(bare, ranged, strict=True)]
        == rule
        == [False, True, True, True, True, False]
    )


def test_the_range_follows_the_model_s_own_sampling(model, load, node):
    """A node behind the loader changes what a share of the range means in sigma."""
    shifted = load(model, end_percent=0.5)
    sampling = type(model.model.model_sampling)(model.model.model_config)
    sampling.set_sigmas(sampling.sigmas * 10)
    shifted.add_object_patch("model_sampling", sampling)
    plain = model.clone()
    plain.add_object_patch("model_sampling", sampling)
    bare, ranged = denoised(plain, [20.0, 3.0]), denoised(shifted, [20.0, 3.0])
    assert not torch.equal(bare[0], ranged[0]) and torch.equal(bare[1], ranged[1])


def test_two_loaders_on_one_model(model, load):
    early_and_late = load(load(model, end_percent=0.5), "b.safetensors", start_percent=0.5)
    answers = denoised(early_and_late, LEVELS)
    assert_all(answers[:2], denoised(load(model), LEVELS[:2]), **INSIDE)
    assert_all(answers[2:], denoised(load(model, "b.safetensors"), LEVELS[2:]), **INSIDE)
    both = load(load(model, end_percent=0.5), "b.safetensors", end_percent=0.5)
    assert_all(denoised(both, LEVELS[:2]), denoised(load(load(model), "b.safetensors"), LEVELS[:2]), **INSIDE)


def test_the_same_file_twice_acts_twice(model, load):
    twice = load(load(model, end_percent=0.5), end_percent=0.5)
    assert len(twice.wrappers[WrappersMP.APPLY_MODEL]) == 2
    assert_all(denoised(twice, LEVELS[:2]), denoised(load(model, strength=2.0), LEVELS[:2]), **INSIDE)


def add_merged(model, tensors):
    return comfy.sd.load_lora_for_models(model, None, tensors, 0.8, 0.0)[0]


def add_bypass(model, tensors):
    return comfy.sd.load_bypass_lora_for_models(model, None, tensors, 0.8, 0.0)[0]


def hooked_text(tensors) -> list:
    return comfy.hooks.set_hooks_for_conditioning(text(1), comfy.hooks.create_hook_lora(tensors, 0.8, 0.0))


@pytest.mark.parametrize("company", [add_merged, add_bypass])
@pytest.mark.parametrize("first", [True, False], ids=["ours first", "ours last"])
def test_beside_the_host_s_own_loaders(model, load, pairs, company, first: bool):
    tensors = lora_styles.kohya()(pairs[1])
    ours = company(load(model, end_percent=0.5), tensors) if first else load(company(model, tensors), end_percent=0.5)
    answers = denoised(ours, LEVELS)
    assert_all(answers[2:], denoised(company(model, tensors), LEVELS[2:]))
    merged = add_merged(load(model), tensors)
    assert_all(answers[:2], denoised(merged, LEVELS[:2]), **INSIDE)
    lora_models.unload()
    assert not [forward for forward in replaced_forwards(model).values() if "lora_forward" in forward.__qualname__]


def test_beside_the_host_s_hooks_on_conditioning(model, load, pairs):
    hooked = hooked_text(lora_styles.kohya()(pairs[1]))
    answers = denoised(load(model, end_percent=0.5), LEVELS, positive=hooked)
    assert_all(answers[2:], denoised(model, LEVELS[2:], positive=hooked))
    assert_all(answers[:2], denoised(load(model), LEVELS[:2], positive=hooked), **INSIDE)


@pytest.mark.parametrize("order", list(itertools.permutations(("merged", "bypass", "ranged"))), ids="-".join)
def test_all_together_in_every_order(model, load, pairs, order: tuple[str, ...]):
    tensors = lora_styles.kohya()(pairs[1])
    steps = {
        "merged": lambda m: load(m, "b.safetensors", strength=-0.5),
        "bypass": lambda m: add_bypass(m, tensors),
        "ranged": lambda m: load(m, end_percent=0.5),
    }
    stack, without = model, model
    for step in order:
        stack = steps[step](stack)
        without = without if step == "ranged" else steps[step](without)
    answers = denoised(stack, LEVELS)
    assert_all(answers[2:], denoised(without, LEVELS[2:]))
    everything = add_merged(load(load(model), "b.safetensors", strength=-0.5), tensors)
    assert_all(answers[:2], denoised(everything, LEVELS[:2]), **INSIDE)


def test_nothing_is_left_behind_after_a_run(model, load):
    lora_models.unload()
    before = replaced_forwards(model)
    ranged = load(model, end_percent=0.5)
    bare = denoised(model, LEVELS)
    denoised(ranged, LEVELS)
    assert replaced_forwards(model) == before
    [[wrapper]] = ranged.wrappers[WrappersMP.APPLY_MODEL].values()
    assert not wrapper.__self__._copies
    assert_all(denoised(model, LEVELS), bare)


class Stop(BaseException):
    """As the host's interrupt is: no Exception."""


@pytest.mark.parametrize("error", [Stop, RuntimeError])
def test_nothing_is_left_behind_by_an_interrupt(model, load, error: type[BaseException]):
    lora_models.unload()
    before = replaced_forwards(model)
    bare = denoised(model, LEVELS)
    ranged = load(model, end_percent=0.5)
    [[wrapper]] = ranged.wrappers[WrappersMP.APPLY_MODEL].values()
    middle = model.model.diffusion_model.middle_block[1]

    def stop(module, args):
        assert replaced_forwards(model) != before and wrapper.__self__._copies  # in the very middle of it
        raise error

    handle = middle.register_forward_pre_hook(stop)
    with pytest.raises(error):
        denoised(ranged, LEVELS)
    handle.remove()
    assert replaced_forwards(model) == before and not wrapper.__self__._copies
    assert_all(denoised(model, LEVELS), bare)
    assert_all(denoised(ranged, LEVELS)[2:], bare[2:])


def test_clones_do_not_disturb_each_other(model, load):
    ranged = load(model, end_percent=0.5)
    wanted = denoised(ranged, LEVELS)
    clone = load(ranged.clone(), "b.safetensors", end_percent=0.5)
    assert_differ(denoised(clone, LEVELS[:2]), wanted[:2])
    assert_all(denoised(ranged, LEVELS), wanted)
    del clone
    assert_all(denoised(ranged.clone(), LEVELS), wanted)


def test_batches_and_conds_in_one_call(model, load):
    ranged = load(model, end_percent=0.5)
    x = lora_models.noise(3)
    together = denoised(ranged, LEVELS, x=x)
    alone = denoised(ranged, LEVELS, x=x[1:2])
    assert_all([answer[1:2] for answer in together], alone, rtol=1e-4, atol=2e-4)


def test_samples_inside_and_outside_in_one_batch_are_refused(model, load):
    ranged = load(model, end_percent=0.5)

    def ask(network, x, sigmas, extra_args=None, callback=None, disable=None):
        return network(x, torch.tensor([3.0, 0.3]), **extra_args)

    x = lora_models.noise(2)
    with pytest.raises(
        ValueError,
        match="'a.safetensors' is limited to a part of the sampling range and the model was asked "
        "for samples inside and outside of it in one batch; set start_percent to 0",
    ):
        lora_models.guider(ranged).sample(x, x, comfy.samplers.KSAMPLER(ask), torch.tensor([3.0, 0.0]), seed=0)


def test_a_range_without_a_step_says_so_and_changes_nothing(model, load, caplog):
    ranged = load(model, start_percent=0.5, end_percent=0.5)
    with caplog.at_level(logging.WARNING):
        answers = denoised(ranged, LEVELS)
    assert_all(answers, denoised(model, LEVELS))
    assert caplog.messages == [
        "'a.safetensors' changed nothing in this run: no step lies between start_percent 0.5 and end_percent 0.5"
    ]
    caplog.clear()
    denoised(load(model, end_percent=0.5), LEVELS)
    assert not caplog.messages


def test_whole_tensors_and_dora_cannot_be_limited(model, load, loras: Path, pairs):
    tensors = lora_styles.kohya()(pairs[0])
    save_file(tensors | {"lora_unet_out_0.diff": torch.zeros(32)}, loras / "c.safetensors")
    with pytest.raises(
        ValueError,
        match=r"^'c.safetensors' holds more than plain LoRA pairs \('lora_unet_out_0.diff'\), which "
        "cannot be limited to a part of the sampling range; set start_percent to 0 and",
    ):
        load(model, "c.safetensors", end_percent=0.5)
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    save_file(tensors | {f"{name}.dora_scale": torch.ones(32, 1)}, loras / "d.safetensors")
    with pytest.raises(ValueError, match=f"^'d.safetensors' holds more than plain LoRA pairs .'{name}'."):
        load(model, "d.safetensors", start_percent=0.5)
    assert load(model, "d.safetensors").patches


@pytest.mark.parametrize("first", [True, False], ids=["ours first", "ours last"])
def test_with_a_compiled_model(model, load, first: bool):
    """torch.compile must follow a LoRA that comes and goes; its eager backend traces without a compiler."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    def compiled(patcher):
        clone = patcher.clone()
        set_torch_compile_wrapper(clone, backend="eager", keys=["diffusion_model.middle_block.1.transformer_blocks.0"])
        return clone

    ranged = compiled(load(model, end_percent=0.5)) if first else load(compiled(model), end_percent=0.5)
    levels = [LEVELS[2], LEVELS[0], LEVELS[2]]
    bare, merged, answers = denoised(model, levels), denoised(load(model), levels), denoised(ranged, levels)
    assert_all(answers[::2], bare[::2], **INSIDE)
    assert_all(answers[1:2], merged[1:2], **INSIDE)
    assert not [forward for forward in replaced_forwards(model).values() if "lora_forward" in forward.__qualname__]


def test_slices_of_fused_weights(load, loras: Path):
    """Flux keeps q, k and v in one weight; a pair for one of them reaches its rows only."""
    import comfy.model_base
    import comfy.supported_models
    from comfy.model_patcher import ModelPatcher

    config = comfy.supported_models.Flux(
        {
            "image_model": "flux",
            "in_channels": 4,
            "out_channels": 4,
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
    pairs = lora_styles.random_pairs({f"transformer_blocks.0.attn.to_{part}": (64, 64) for part in "kv"})
    save_file(lora_styles.peft("transformer.")(pairs), loras / "flux.safetensors")
    positive = [[text(1, 16)[0][0], {"pooled_output": torch.ones(1, 8)}]]
    levels = [0.99, 0.1]

    def ask(patcher):
        guider = comfy.samplers.CFGGuider(patcher)
        guider.set_conds(positive, positive)
        answers = []

        def sample(network, x, sigmas, extra_args=None, callback=None, disable=None):
            answers.extend(network(x, torch.tensor([level]), **extra_args) for level in levels)
            return x

        x = lora_models.noise()
        guider.sample(x, x, comfy.samplers.KSAMPLER(sample), torch.tensor([0.99, 0.1, 0.0]), seed=0)
        return answers

    bare, merged, ranged = (
        ask(flux),
        ask(load(flux, "flux.safetensors")),
        ask(load(flux, "flux.safetensors", end_percent=0.5)),
    )
    assert_all(ranged[:1], merged[:1], **INSIDE)
    assert_all(ranged[1:], bare[1:])
    assert not torch.equal(bare[0], merged[0])
