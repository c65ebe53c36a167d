"""The demo checkpoint through the stock nodes: recognised, whole, obedient."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import demo.assemble
from demo.assemble import CHECKPOINT_NAME, LORA, LORA_NAME, UNET_VAE, assemble, put
from demo.check import StockNodes, chosen_prompts, score
from demo.judge import judge
from demo.pictures import PROMPTS, random_pictures
from demo.release import UNET_PREFIX
from demo.text_encoder import POSITION_STD, PREFIX, TOKEN_STD, bell
from devtools.layout import PACK

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def stock(demo_models: Path) -> StockNodes:
    with torch.inference_mode():
        return StockNodes(demo_models)


def test_the_files_are_small_and_half_precision() -> None:
    assert UNET_VAE.stat().st_size + LORA.stat().st_size < 48 * MEGABYTE
    with safe_open(UNET_VAE, "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"F16"}  # noqa: SIM118 (not a dict)


def test_the_stock_loader_sees_sd1(stock: StockNodes) -> None:
    import comfy.latent_formats
    import comfy.sd1_clip

    assert type(stock.model.model.latent_format) is comfy.latent_formats.SD15
    assert isinstance(stock.clip.cond_stage_model, comfy.sd1_clip.SD1ClipModel)
    assert stock.model.model.model_sampling.sigma_max.item() == pytest.approx(14.6146, rel=1e-4)


def test_every_weight_of_the_unet_arrives(stock: StockNodes, demo_models: Path) -> None:
    loaded = stock.model.model.diffusion_model.state_dict()
    with safe_open(demo_models / "checkpoints" / CHECKPOINT_NAME, "pt") as file:
        stored = {
            key.removeprefix(UNET_PREFIX): key
            for key in file.keys()  # noqa: SIM118 (not a dict)
            if key.startswith(UNET_PREFIX)
        }
        assert set(stored) == set(loaded)
        for name, key in stored.items():
            assert torch.equal(loaded[name].float(), file.get_tensor(key).float()), name


@torch.inference_mode()
def test_latents_are_centred_and_of_unit_size(stock: StockNodes) -> None:
    """What the sampler's unit noise is mixed with: the host's own encode and process_latent_in."""
    generator = torch.Generator().manual_seed(11)
    pictures = torch.cat([random_pictures(prompt, 1, generator) for prompt in PROMPTS])
    latent = stock.model.model.process_latent_in(stock.vae.encode(pictures))
    assert abs(latent.mean().item()) < 0.05
    assert 0.9 < latent.std().item() < 1.1


@torch.inference_mode()
def test_one_word_changes_one_token(stock: StockNodes) -> None:
    red, green = (stock.encode(f"a {colour} circle on a blue background")[0][0] for colour in ("red", "green"))
    changed = (red != green).any(dim=-1)[0].nonzero().flatten().tolist()
    assert red.shape == (1, 77, 768) and changed == [2]  # start, "a", the colour


@torch.inference_mode()
def test_it_draws_what_it_is_asked(stock: StockNodes) -> None:
    """Eight of the sixty-four of demo/check.py, which is the full measure."""
    prompts = chosen_prompts(8)
    shares = score([stock.picture(prompt.text, seed) for seed, prompt in enumerate(prompts)], prompts)
    assert shares["both_colours"] >= 0.875, shares


def test_the_stock_loader_takes_the_whole_lora(stock: StockNodes, demo_models: Path) -> None:
    import comfy.lora
    import comfy.utils

    weights = comfy.utils.load_torch_file(str(demo_models / "loras" / LORA_NAME))
    keys = comfy.lora.model_lora_keys_unet(stock.model.model, {})
    assert len(weights) == 48 and len(comfy.lora.load_lora(weights, keys)) == 24


def test_the_judge_reads_drawings() -> None:
    generator = torch.Generator().manual_seed(3)
    for prompt in PROMPTS:
        seen = judge(random_pictures(prompt, 1, generator)[0])
        assert (seen.colour, seen.shape, seen.background) == tuple(prompt)


def test_the_judge_sees_nothing_on_a_plain_picture() -> None:
    assert judge(torch.ones(64, 64, 3)) == ("white", None, None)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("embeddings.position_embedding.weight", "0388b1b14db64cc541a43f6510df50844435fcb45604d90f61a3ac9fb53082ff"),
        ("encoder.layers.11.mlp.fc1.weight", "47024677d597eb94bbac9a892d90906897f2d0945b012e37d4a7e04ebd48c52d"),
    ],
)
def test_the_text_encoder_is_the_same_on_every_machine(demo_models: Path, name: str, digest: str) -> None:
    """Two matrices, the second the last one drawn: it is right only if everything before it was."""
    with safe_open(demo_models / "checkpoints" / CHECKPOINT_NAME, "pt") as file:
        weight = file.get_tensor(PREFIX + name)
    assert hashlib.sha256(weight.numpy().tobytes()).hexdigest() == digest


def test_the_bell_curve_has_the_moments_it_claims() -> None:
    weight = bell(512, 512, TOKEN_STD, torch.Generator().manual_seed(0)).double()
    assert weight.std().item() == pytest.approx(TOKEN_STD, rel=0.01)
    assert abs(weight.mean().item()) < 5 * TOKEN_STD / 512  # five standard errors
    assert POSITION_STD < TOKEN_STD


def test_put_writes_once_and_repairs(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "models" / "file.safetensors"
    source.write_bytes(b"one")

    def write(part: Path) -> None:
        part.write_bytes(source.read_bytes())

    assert put(target, [source], write) and not put(target, [source], write)
    target.write_bytes(b"cut")
    assert put(target, [source], write) and target.read_bytes() == b"one"
    source.write_bytes(b"two")
    assert put(target, [source], write) and target.read_bytes() == b"two"
    target.with_name(target.name + ".json").write_text("{", encoding="ascii")
    assert put(target, [source], write)
    assert sorted(path.name for path in target.parent.iterdir()) == [target.name, target.name + ".json"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "file.safetensors"
    source.write_bytes(b"one")
    put(target, [source], lambda part: part.write_bytes(b"one") and None)
    source.write_bytes(b"two")

    def fail(part: Path) -> None:
        part.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        put(target, [source], fail)
    assert target.read_bytes() == b"one"
    assert json.loads(target.with_name(target.name + ".json").read_text())["sources"]["source"]
    assert not list(tmp_path.glob("*.part"))


def test_assemble_names_a_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.assemble, "LORA", tmp_path / "gone.safetensors")
    with pytest.raises(FileNotFoundError, match="gone.safetensors is missing: restore it from git"):
        assemble(tmp_path)


@pytest.mark.parametrize("command", [["-I", "demo/assemble.py"], ["-m", "demo.assemble"]])
def test_assemble_starts_as_a_file_and_as_a_module(tmp_path: Path, demo_models: Path, command: list[str]) -> None:
    """As a file without anything on the path beside it, as the Python of the portable ComfyUI starts it."""
    subprocess.run([sys.executable, *command, str(tmp_path)], cwd=PACK, check=True)
    for name in (f"checkpoints/{CHECKPOINT_NAME}", f"loras/{LORA_NAME}"):
        assert (tmp_path / name).read_bytes() == (demo_models / name).read_bytes()


@pytest.mark.parametrize("command", [["-I", "demo/training_pictures.py"], ["-m", "demo.training_pictures"]])
def test_training_pictures_start_as_a_file_and_as_a_module(tmp_path: Path, command: list[str]) -> None:
    subprocess.run([sys.executable, *command, str(tmp_path)], cwd=PACK, check=True)
    pictures = {path.stem for path in tmp_path.rglob("*.png")}
    assert len(pictures) == len(PROMPTS) and pictures == {path.stem for path in tmp_path.rglob("*.txt")}
