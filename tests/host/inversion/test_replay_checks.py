"""What Invert Picture and the replay nodes refuse: each case with one sentence, and none before it breaks anything."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import comfy.hooks
import comfy.model_base
import comfy.nested_tensor
import comfy.samplers
import folder_paths
import pytest
import torch
from comfy_extras.nodes_custom_sampler import RandomNoise, SamplerCustomAdvanced
from comfy_extras.nodes_hooks import CreateHookKeyframe, CreateHookLoraModelOnly, SetHookKeyframes
from comfy_extras.nodes_model_advanced import RescaleCFG
from safetensors.torch import save_file

from devtools.client import HostError

STEPS = 4
ENDING = ".inversion.safetensors"
LORA = "smooth_demo_lora.safetensors"
SMALLEST = "smallest of the model (diffusers)"


pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")


class World:
    """The demo checkpoint, and inversions of one small latent, each made once."""

    def __init__(self, host_pack):
        self.pack, self.run = host_pack, host_pack.run
        loader = host_pack.node("CheckpointLoaderSimple")()
        self.model, self.clip, self.vae = loader.load_checkpoint("smooth_demo.safetensors")
        self.text, self.other, self.empty = map(self.encoded, ("a red circle on a blue background", "a ring", ""))
        self.latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5)) * 4.0
        self.image = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(6))
        self.kept = functools.lru_cache(None)(lambda method, cfg=1.0: self.invert(method=method, cfg=cfg)[:2])

    def encoded(self, words: str) -> list:
        return self.pack.node("CLIPTextEncode")().encode(self.clip, words)[0]

    def lora(self, strength: float):
        return self.pack.node("LoraLoaderModelOnly")().load_lora_model_only(self.model, LORA, strength)[0]

    def smooth_lora(self):
        return self.run("SmoothLoRALoader", model=self.model, lora_name=LORA)[0]

    def scheduled(self, text: list) -> list:
        """The text with a LoRA that the stock hook nodes fade in."""
        (frames,) = CreateHookKeyframe().create_hook_keyframe(0.2, 0.0)
        (frames,) = CreateHookKeyframe().create_hook_keyframe(1.0, 0.5, frames)
        (hooks,) = CreateHookLoraModelOnly().create_hook_model_only(LORA, 1.0)
        return comfy.hooks.set_hooks_for_conditioning(text, SetHookKeyframes().set_hook_keyframes(hooks, frames)[0])

    def invert(self, **inputs) -> tuple:
        return self.run(
            "SmoothInvert",
            **{
                "model": self.model,
                "positive": self.text,
                "negative": self.empty,
                "method": "ddim",
                "steps": STEPS,
                "latent_image": {"samples": self.latent},
                "inner_steps": 1,
                "cache_gb": 0.0,
                **inputs,
            },
        )

    def guider(self, method: str, model=None, cfg: float = 1.0, **inputs):
        inversion = self.kept(method, cfg)[0]
        return self.run("SmoothReplayGuider", model=model or self.model, inversion=inversion, **inputs)[0]

    def stock_guider(self, model=None):
        guider = comfy.samplers.CFGGuider(model or self.model)
        guider.set_conds(self.text, self.empty)
        return guider

    def sample(
        self, method: str, *, cfg: float = 1.0, skip: int = 0, noise=None, guider=None, sigmas=None, latent=None
    ):
        """SamplerCustomAdvanced with the Replay Sampler, everything its own but what is named."""
        inversion, own = self.kept(method, cfg)
        sampler, levels, empty = self.run("SmoothReplaySampler", inversion=inversion, skip=skip)
        return SamplerCustomAdvanced.execute(
            noise or own,
            guider or self.guider(method, cfg=cfg),
            sampler,
            levels if sigmas is None else sigmas,
            empty if latent is None else {"samples": latent},
        )[0]["samples"]

    def parts(self, **inputs) -> tuple:
        return self.run("SmoothInversionParts", inversion=self.kept("ddim")[0], **inputs)

    def per_step(self) -> list:
        """The negative text of a null-text inversion, one for each step."""
        return self.run("SmoothInversionParts", inversion=self.kept("null_text")[0])[2]

    def walk_texts(self, *texts: list) -> tuple:
        return self.run("SmoothConditioningWalk", keyframes={f"keyframe_{k}": text for k, text in enumerate(texts)})

    def file(self, content: bytes | dict | None, cut: int | None = None) -> tuple:
        """Load Inversion of a file in the input folder; None saves a good one first."""
        path = Path(folder_paths.get_input_directory()) / f"bad{ENDING}"
        if content is None:
            (name,) = self.run("SmoothSaveInversion", inversion=self.kept("ddim")[0], filename_prefix="checks/good")
            content = Path(folder_paths.get_annotated_filepath(name)).read_bytes()[:cut]
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            save_file(content, path)
        return self.load(path.name)

    def load(self, name: str) -> tuple:
        return self.run("SmoothLoadInversion", file=name)

    def save(self, prefix: str) -> tuple:
        return self.run("SmoothSaveInversion", inversion=self.kept("ddim")[0], filename_prefix=prefix)


@pytest.fixture(scope="module")
def world(demo_models, host_pack) -> World:
    with torch.inference_mode():
        return World(host_pack)


def batch(w: World, count: int) -> dict:
    return {"samples": w.latent.repeat(count, 1, 1, 1)}


INVERT: dict[str, tuple[Callable[[World], dict], str]] = {
    "neither": (
        lambda w: {"latent_image": None},
        r"^Invert Picture: wire either an image \(with a vae\) or a latent_image, got neither$",
    ),
    "both": (lambda w: {"image": w.image, "vae": w.vae}, "wire either .* got both$"),
    "no vae": (lambda w: {"latent_image": None, "image": w.image}, "an image needs a VAE to be encoded; wire the vae"),
    "nan image": (
        lambda w: {"latent_image": None, "image": w.image * torch.nan, "vae": w.vae},
        "image holds 12288 NaN or infinite values$",
    ),
    "nan latent": (lambda w: {"latent_image": {"samples": w.latent / 0}}, "latent_image holds 256 NaN or infinite"),
    "empty latent": (lambda w: {"latent_image": {"samples": w.latent * 0}}, r"the latent is empty \(all zeros\)"),
    "channels": (
        lambda w: {"latent_image": {"samples": w.latent.repeat(1, 4, 1, 1)}},
        "the latent has 16 channels, but this model's have 4; encode the picture with the model's own VAE$",
    ),
    "empty channels": (lambda w: {"latent_image": {"samples": torch.zeros(1, 16, 8, 8)}}, "the latent has 16 channels"),
    "nested": (
        lambda w: {"latent_image": {"samples": comfy.nested_tensor.NestedTensor([w.latent, w.latent])}},
        "this LATENT nests several latents",
    ),
    "too many": (lambda w: {"latent_image": batch(w, 65)}, "65 pictures at once, but 1 to 64 can be inverted together"),
    "no picture": (
        lambda w: {"latent_image": {"samples": w.latent[:0]}},
        "latent_image must be a latent that holds something, got a latent of 0x4x8x8",
    ),
    "exact, 1 step": (
        lambda w: {"method": "exact", "steps": 1},
        "exact joins three neighbouring sigmas, so it needs at least 2 steps, got 1; set steps to 2",
    ),
    "dual, 1 picture": (
        lambda w: {"method": "null_text_dual"},
        "fits one prompt to two images, so it needs 2 images, got 1; put 2 images",
    ),
    "dual, 3 pictures": (
        lambda w: {"method": "null_text_dual", "latent_image": batch(w, 3)},
        "null_text_dual .* two images, so it needs 2 images, got 3",
    ),
    "positive_2, 3 pictures": (
        lambda w: {"positive_2": w.other, "latent_image": batch(w, 3)},
        "positive_2 is the text of the second of two pictures, but the number of pictures is 3",
    ),
    "positive_2, 1 picture": (lambda w: {"positive_2": w.other}, "positive_2 is .* pictures is 1; put two pictures"),
    "positive_2 of two": (
        lambda w: {"positive_2": w.other + w.text, "latent_image": batch(w, 2)},
        "positive_2 holds 2 conditionings, but this method needs exactly one text",
    ),
    "positive_2 prepared otherwise": (
        lambda w: {
            "positive_2": [[w.other[0][0], {**w.other[0][1], "start_percent": 0.5}]],
            "latent_image": batch(w, 2),
        },
        "positive_2 and positive differ in 'start_percent'; prepare both",
    ),
    "scheduled LoRA": (
        lambda w: {"positive": w.scheduled(w.text)},
        r"positive carries a scheduled LoRA \(hook keyframes\), which ComfyUI can only run forward",
    ),
    "scheduled LoRA in negative": (lambda w: {"negative": w.scheduled(w.empty)}, "negative carries a scheduled LoRA"),
    "several negatives": (
        lambda w: {"method": "null_text", "cfg": 7.5, "negative": w.empty + w.other},
        "negative holds 2 conditionings, but this method needs exactly one text",
    ),
    "not falling to 0": (
        lambda w: {"scheduler": "kl_optimal", "steps": 1},
        "the scheduler 'kl_optimal' with 1 steps gives noise levels that cannot be walked back",
    ),
    "final sigma met": (
        lambda w: {"scheduler": "kl_optimal", "final_sigma": SMALLEST},
        "needs a scheduler whose last step starts above it, and 'kl_optimal' with 4 steps starts at",
    ),
}
REPLAY: dict[str, tuple[Callable[[World], object], str]] = {
    "another strength": (
        lambda w: w.guider("ddim", w.lora(0.5)),
        "^Replay Guider: this model is not the one that was inverted with",
    ),
    "Smooth-LoRA": (lambda w: w.guider("ddim", w.smooth_lora()), "^Replay Guider: this model is not the one"),
    "another model, stock guider": (
        lambda w: w.sample("ddim", guider=w.stock_guider(w.lora(1.0))),
        "^Replay Sampler: this model is not the one .* turn on allow_other_model in the",
    ),
    "fewer steps": (
        lambda w: w.sample("ddim", sigmas=w.kept("ddim")[0].sigmas[:3].float()),
        r"^Replay Sampler: the sigmas are not those of the inversion \(4 steps from .* got 2 from",
    ),
    "other sigmas": (
        lambda w: w.sample("exact", sigmas=w.kept("exact")[0].sigmas.float() * 1.001),
        "the sigmas are not those of the inversion .* wire the sigmas output of the Replay Sampler$",
    ),
    "sigmas of no skip": (
        lambda w: w.sample("ddim", skip=1, sigmas=w.kept("ddim")[0].sigmas.float()),
        r"the sigmas are not those of the inversion \(3 steps from .* got 4",
    ),
    "another size": (
        lambda w: w.sample("ddim", latent=torch.zeros(1, 4, 8, 16)),
        "^inverted noise: it is of 4x8x8, but is asked for a latent of 4x8x16; wire the latent_image",
    ),
    "another size, plain noise": (
        lambda w: w.sample("ddim", latent=torch.zeros(1, 4, 8, 16), noise=RandomNoise.execute(1)[0]),
        "^Replay Sampler: the latent is 4x8x16, but the inversion is 4x8x8",
    ),
    "nested latent": (
        lambda w: w.sample("ddim", latent=comfy.nested_tensor.NestedTensor([w.latent, w.latent])),
        "^inverted noise: this LATENT nests several latents",
    ),
    "batch": (
        lambda w: w.invert(latent_image=batch(w, 2))[1].generate_noise(batch(w, 3)),
        "^inverted noise: it holds 2 pictures, but the latent batch is 3; set the batch to 2, or a multiple",
    ),
    **{
        f"walked noise, {method}": (
            lambda w, method=method: w.sample(method, noise=RandomNoise.execute(1)[0]),
            f"^Replay Sampler: the noise is not that of the inversion, but {method} can only",
        )
        for method in ("exact", "edit_friendly", "proximal", "direct")
    },
    "walked noise and skip": (
        lambda w: w.sample("ddim", skip=1, noise=RandomNoise.execute(1)[0]),
        "^Replay Sampler: skip needs the noise of the inversion itself",
    ),
    **{
        f"stock guider, {method}": (
            lambda w, method=method: w.sample(method, guider=w.stock_guider()),
            f"^Replay Sampler: an inversion with {method} comes back only with the Replay",
        )
        for method in ("proximal", "null_text")
    },
    "guider of another method, proximal": (
        lambda w: w.sample("proximal", guider=w.guider("ddim")),
        "^Replay Sampler: the Replay Guider belongs to another inversion; wire the",
    ),
    "guider of another method, null_text": (
        lambda w: w.sample("null_text", guider=w.guider("ddim")),
        "the Replay Guider belongs to another inversion",
    ),
    "guider of another cfg": (
        lambda w: w.sample("null_text", cfg=2.0, guider=w.guider("null_text")),
        "the Replay Guider belongs to another inversion",
    ),
    "skip all": (
        lambda w: w.sample("ddim", skip=STEPS),
        "^Replay Sampler: skip is 4, but this inversion has 4 steps; give 0 to 3$",
    ),
    "skip all but one, exact": (lambda w: w.sample("exact", skip=STEPS - 1), "skip is 3, .* give 0 to 2$"),
    "skip below 0": (lambda w: w.sample("ddim", skip=-1), "skip must be between 0 and 999, got -1$"),
    "guidance replaced": (
        lambda w: w.guider("proximal", RescaleCFG().patch(w.model, 0.7)[0], allow_other_model=True),
        "^Replay Guider: another node replaces this model's guidance",
    ),
    "negative for null text": (
        lambda w: w.guider("null_text", negative=w.other),
        "^Replay Guider: null_text brings the picture back with a negative text of its own",
    ),
    "walk of unlike steps": (
        lambda w: w.walk_texts(w.per_step(), w.per_step()[:-1]),
        r"^Conditioning Walk: keyframe_1 and keyframe_0 do not .* \(3 and 4 of them\); invert "
        "both pictures",
    ),
    "walk of a text and texts of steps": (lambda w: w.walk_texts(w.text, w.per_step()), r"\(4 and 1 of them\)"),
    "direct to several texts": (
        lambda w: w.guider("direct", positive=w.other + w.text),
        "^positive holds 2 conditionings, but this method needs exactly one text",
    ),
    "picture 0": (lambda w: w.parts(picture=0), "^Inversion Parts: picture must be between 1 and 64, got 0$"),
    "picture 2": (lambda w: w.parts(picture=2), "^Inversion Parts: picture is 2, but this inversion holds 1"),
    **{
        f"whiten {amount}": (lambda w, amount=amount: w.parts(whiten=amount), "whiten must be between 0.0 and 1.0")
        for amount in (-0.1, 1.1, float("nan"))
    },
    "switched null texts": (
        lambda w: w.run("SmoothPromptSwitch", source=w.per_step(), target=w.text, fraction=0.5),
        "^Prompt Switch: source is bound to single steps",
    ),
    "no such file": (lambda w: w.load(f"none{ENDING}"), r"^Load Inversion: 'none\S+' is no inversion file"),
    **{
        f"name {name!r}": (lambda w, name=name: w.load(name), "^Load Inversion: .* is no inversion file .* save an")
        for name in (
            "x.safetensors",
            f"../../x{ENDING}",
            f"../x{ENDING} [output]",
            f"/etc/x{ENDING}",
            f"x{ENDING} [temp]",
            f"a\0b{ENDING}",
            f"{Path(__file__).parent}/x{ENDING}",
            "",
            ENDING,
            f"x{ENDING}/../../y{ENDING}",
        )
    },
    "foreign safetensors": (lambda w: w.file({"x": torch.ones(3)}), "is a safetensors file, but not an inversion"),
    "truncated": (lambda w: w.file(None, cut=-100), "^'bad.inversion.safetensors' is not a whole safetensors file"),
    "empty file": (lambda w: w.file(b""), "is not a whole safetensors file"),
    "text file": (lambda w: w.file(b"a list of things to buy\n" * 9), "is not a whole safetensors file"),
    **{
        f"prefix {prefix!r}": (lambda w, prefix=prefix: w.save(prefix), "filename_prefix .* leads out of the output")
        for prefix in ("../x", "a/../../x", str(Path(__file__).parent / "x"))
    },
    **{
        f"prefix {prefix!r}": (lambda w, prefix=prefix: w.save(prefix), "filename_prefix .* makes no file name")
        for prefix in ("", "..", "x" * 300, "a\0b")
    },
}


@pytest.mark.parametrize("case", INVERT)
def test_invert_refuses_before_any_work(world, monkeypatch, case):
    inputs, sentence = INVERT[case]
    given = inputs(world)

    def no_call(*args, **kwargs):
        raise AssertionError("the model was called before the refusal")

    monkeypatch.setattr(comfy.model_base.BaseModel, "apply_model", no_call)
    with pytest.raises(ValueError, match=sentence) as refused:
        world.invert(**given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("case", REPLAY)
def test_what_cannot_be_replayed_is_refused(world, case):
    attempt, sentence = REPLAY[case]
    with pytest.raises(ValueError, match=sentence) as refused:
        attempt(world)
    assert "\n" not in str(refused.value)


def test_another_model_is_let_through_when_wanted(world):
    own = world.sample("ddim")
    guider = world.guider("ddim", world.lora(1.0), allow_other_model=True)
    redrawn = world.sample("ddim", guider=guider)
    assert redrawn.isfinite().all() and not torch.allclose(redrawn, own, atol=1e-3)
    assert torch.equal(world.sample("ddim"), own)  # and every refusal above has left the model as it was


def prompt(*, wired: dict, **inputs) -> dict:
    """Invert Picture with its receipt shown; wired: image, vae or latent_image."""
    texts = {
        number: {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": words}}
        for number, words in (("2", "a red circle on a blue background"), ("3", ""))
    }
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "smooth_demo.safetensors"}},
        **texts,
        "4": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 99}},
        "5": {
            "class_type": "SmoothInvert",
            "inputs": {
                "model": ["1", 0],
                "positive": ["2", 0],
                "negative": ["3", 0],
                "method": "ddim",
                "cfg": 1.0,
                "steps": STEPS,
                "scheduler": "ddim_uniform",
                "cache_gb": 0.0,
                **wired,
                **inputs,
            },
        },
        "6": {"class_type": "PreviewAny", "inputs": {"source": ["5", 2]}},
    }


WIRED = {"image": ["4", 0], "vae": ["1", 2]}


def loading(name) -> dict:
    return {
        "1": {"class_type": "SmoothLoadInversion", "inputs": {"file": name}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 2]}},
    }


SAVING = {"class_type": "SmoothSaveInversion", "inputs": {"inversion": ["5", 0], "filename_prefix": "../x"}}
OVER_HTTP = {
    "no vae": (prompt(wired={"image": ["4", 0]}), "an image needs a VAE to be encoded; wire the vae"),
    "neither": (prompt(wired={}), "got neither"),
    "exact, 1 step": (prompt(wired=WIRED, method="exact", steps=1), "exact joins three neighbouring sigmas"),
    "dual, 1 picture": (prompt(wired=WIRED, method="null_text_dual"), "needs 2 images, got 1"),
    "no step": (prompt(wired=WIRED, steps=0), "Value 0 smaller than min of 1"),
    "no such method": (prompt(wired=WIRED, method="magic"), "magic"),
    **{
        f"name {name!r}": (loading(name), "Load Inversion: .* is no inversion file")
        for name in (f"../../x{ENDING}", f"/etc/x{ENDING}", f"x{ENDING} [temp]", f"a\0b{ENDING}", 5)
    },
    "prefix": ({**prompt(wired=WIRED), "7": SAVING}, "leads out of the output folder"),
}


def test_a_running_server_refuses_and_goes_on(client, server):
    before = sorted(path.name for path in server.base.iterdir())
    for case, (refused, sentence) in OVER_HTTP.items():
        with pytest.raises(HostError, match=sentence):
            client.run(refused)
            pytest.fail(f"not refused: {case}")
    assert sorted(path.name for path in server.base.iterdir()) == before
    [receipt] = client.run(prompt(wired=WIRED))["6"]["text"]
    assert receipt.startswith("ddim, 4 steps, cfg 1, 1 picture, replayed once to measure:")
