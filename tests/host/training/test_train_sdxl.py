"""A Smooth-LoRA trained on SDXL: two text encoders, pooled text and size as inputs of the network, ten blocks in a row.

On a miniature checkpoint of random weights, see demo/assemble_sdxl.py; the first run makes it (1.9 GB, 20 s).
"""

from __future__ import annotations

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.sdxl_clip
import comfy.supported_models
import demo_scene
import folder_paths
import pytest
import torch
import train_scene
from comfy_extras.nodes_clip_sdxl import CLIPTextEncodeSDXL
from comfy_extras.nodes_train import LoraModelLoader, SaveLoRA
from safetensors import safe_open

import nodes as host_nodes
from demo.assemble_sdxl import CHECKPOINT_NAME, UNET, assemble
from devtools.layout import DEMO_SDXL

pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")

LAYERS = 8 * (2 + 2 + 10 + 10 + 1 + 6)  # projections of self- and cross-attention, in every transformer block
SIZES = ((8, 8), (8, 12), (16, 8))  # of latents


@pytest.fixture(scope="module")
def checkpoint():
    """Its file, in a folder of checkpoints of the host."""
    path = assemble(DEMO_SDXL)
    with pytest.MonkeyPatch.context() as patch:
        folders, endings = folder_paths.folder_names_and_paths["checkpoints"]
        patch.setitem(folder_paths.folder_names_and_paths, "checkpoints", ([*folders, str(path.parent)], endings))
        yield path


@pytest.fixture(scope="module")
def sdxl(checkpoint, host_pack):
    yield demo_scene.load(host_pack, CHECKPOINT_NAME)
    comfy.model_management.unload_all_models()


@pytest.fixture(scope="module")
def lora(sdxl, host_pack, tmp_path_factory):
    """What the node makes of pictures of two sizes in batches of two; it leaves the model as it was."""
    network = sdxl.model.model.diffusion_model
    before, uuid = {name: weight.clone() for name, weight in network.state_dict().items()}, sdxl.model.patches_uuid
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_paths, "get_system_user_directory", lambda name: str(tmp_path_factory.mktemp(name)))
        made, losses, report = (
            host_pack.node("SmoothLoRATrainer")
            .execute(
                model=[sdxl.model],
                latents=[{"samples": sdxl.both}, {"samples": torch.cat([sdxl.both] * 2, dim=3)}],
                positive=[sdxl.first, sdxl.second, sdxl.first, sdxl.second],
                empty_text=[sdxl.empty],
                name=["sdxl"],
                svr_lambda=[1.0],
                rank=[4],
                targets=["attention"],
                steps=[4],
                batch_size=[2],
                learning_rate=[1e-2],
                seed=[1],
            )
            .result[:3]
        )
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())
    assert sdxl.model.patches_uuid == uuid and not sdxl.model.patches
    assert not any("forward" in module.__dict__ for module in network.modules())
    assert torch.tensor(losses["loss"]).isfinite().all() and f"rank 4 on {LAYERS} layers" in report
    return made


def drawn(model, scene) -> torch.Tensor:
    """A latent that the host samples."""
    latent = {"samples": torch.zeros(1, 4, 8, 8)}
    return host_nodes.common_ksampler(model, 5, 2, 3.0, "euler", "normal", scene.first, scene.empty, latent)[0][
        "samples"
    ]


def test_the_stock_loader_sees_sdxl_and_every_weight_arrives(sdxl, checkpoint):
    model = sdxl.model.model
    assert type(model) is comfy.model_base.SDXL and type(model.model_config) is comfy.supported_models.SDXL
    assert type(model.latent_format) is comfy.latent_formats.SDXL
    assert isinstance(sdxl.clip.cond_stage_model, comfy.sdxl_clip.SDXLClipModel)
    loaded = model.diffusion_model.state_dict()
    with safe_open(checkpoint, "pt") as file:
        stored = {key.removeprefix(UNET): key for key in file.keys() if key.startswith(UNET)}  # noqa: SIM118
        assert stored.keys() == loaded.keys()
        assert all(torch.equal(loaded[name].half(), file.get_tensor(key)) for name, key in stored.items())
    texts, pooled = zip(
        *[(tensor, more["pooled_output"]) for ((tensor, more),) in (sdxl.first, sdxl.second, sdxl.empty)], strict=True
    )
    assert {tuple(text.shape) for text in texts} == {(1, 77, 2048)} and {len(row[0]) for row in pooled} == {1280}
    for kind in (texts, pooled):
        assert all(tensor.isfinite().all() for tensor in kind)
        assert not torch.equal(kind[0], kind[1]) and not torch.equal(kind[0], kind[2])


def test_first_order_is_the_gradient(sdxl, pack_module):
    exact, found = (train_scene.gradient(pack_module, sdxl, estimator) for estimator in ("exact", "first_order"))
    assert found.isfinite().all() and float(torch.cosine_similarity(found, exact, dim=0)) > 0.999
    assert float((found - exact).norm() / exact.norm()) < 0.02  # float32's rounding: 7e-4 with ten times the step


def test_every_layer_is_trained(lora):
    assert len(lora) == 2 * LAYERS
    assert all(tensor.isfinite().all() and tensor.any() for tensor in lora.values())  # the matrices up begin at zero


def test_the_stock_loader_takes_every_key_and_the_picture_changes(lora, sdxl):
    patched = LoraModelLoader.execute(sdxl.model, lora, 1.0)[0]
    assert len(patched.patches) == LAYERS
    plain, changed = drawn(sdxl.model, sdxl), drawn(patched, sdxl)
    assert changed.isfinite().all() and float((changed - plain).norm() / plain.norm()) > 1e-3
    assert torch.equal(drawn(sdxl.model, sdxl), plain)


def test_saved_by_the_stock_node_it_goes_through_our_loader(lora, sdxl, host_pack, monkeypatch, tmp_path):
    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(tmp_path))
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(tmp_path)], {".safetensors"}))
    SaveLoRA.execute(lora, "sdxl")
    (file,) = tmp_path.glob("*.safetensors")
    patched, report = host_pack.run("SmoothLoRALoader", model=sdxl.model, lora_name=file.name)
    assert len(patched.patches) == LAYERS and str(LAYERS) in report
    torch.testing.assert_close(drawn(patched, sdxl), drawn(LoraModelLoader.execute(sdxl.model, lora, 1.0)[0], sdxl))


def test_a_picture_of_another_size_is_told_as_the_host_tells_it(sdxl, pack_module, monkeypatch):
    """Text, pooled text and size reach the network as in a plain sampling of that size, for texts without a size of
    their own and with one."""
    inner, told = comfy.model_base.BaseModel.apply_model, []

    def apply_model(self, *args, **kwargs):
        told.append((kwargs["c_crossattn"], kwargs["y"]))
        return inner(self, *args, **kwargs)

    monkeypatch.setattr(comfy.model_base.BaseModel, "apply_model", apply_model)
    (of_a_size,) = CLIPTextEncodeSDXL.execute(sdxl.clip, 512, 768, 16, 0, 640, 768, "a red ring", "a red ring").result
    texts, sigma = [sdxl.first, of_a_size], torch.tensor([1.0] * 3, dtype=torch.float64)

    def job(network):
        for size in SIZES:
            network.denoiser_for([0, 1, 1], [False, False, True])(torch.ones(3, 4, *size), sigma)

    pack_module("nodes.training.network").run_on_network(
        sdxl.model, texts, {}, job, empty=sdxl.empty, shape=(3, 4, *SIZES[0]), estimator="first_order", low_memory=False
    )
    trained = told[:]
    assert len(trained) == len(SIZES)
    for size, inputs in zip(SIZES, trained, strict=True):
        told.clear()
        for text in (*texts, sdxl.empty):
            host_nodes.common_ksampler(
                sdxl.model, 0, 1, 1.0, "euler", "normal", text, sdxl.empty, {"samples": torch.zeros(1, 4, *size)}
            )
        for found, expected in zip(inputs, zip(*told, strict=True), strict=True):
            assert torch.equal(found, torch.cat(expected))
    sizes = [y for _, y in trained]
    for other in sizes[1:]:
        assert [torch.equal(a, b) for a, b in zip(sizes[0], other, strict=True)] == [False, True, False]
