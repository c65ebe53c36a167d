"""A folder's pictures made ready for training by the node, and what it refuses."""

from __future__ import annotations

import comfy.model_management
import demo_scene
import pytest
import torch
from comfy_extras.nodes_dataset import LoadImageTextDataSetFromFolderNode, MakeTrainingDataset
from PIL import Image

pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")
CAPTIONS = [demo_scene.FIRST.text, demo_scene.SECOND.text]


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """The folder of encoded pictures and texts."""
    monkeypatch.setattr("folder_paths.get_system_user_directory", lambda name: str(tmp_path / name))
    return tmp_path / "smooth_diffusion" / "encoded"


@pytest.fixture
def made(host_pack, demo, kept):
    """made(images, texts, ...) -> the node's outputs."""

    def run(images=None, texts=CAPTIONS, **inputs):
        lists = {
            "images": [demo.pictures[:1], demo.pictures[1:]] if images is None else images,
            "texts": list(texts),
            "vae": [demo.vae],
            "clip": [demo.clip],
            "resolution": [64],
            "held_out": [0],
            "missing_captions": ["refuse"],
            **{name: [value] for name, value in inputs.items()},
        }
        return host_pack.node("SmoothLoRATrainData").execute(**lists).result

    return run


def same_text(one: list, other: list) -> bool:
    return torch.equal(one[0][0], other[0][0]) and one[0][1].keys() == other[0][1].keys()


def test_pictures_and_texts_are_those_of_the_host_s_own_nodes(made, demo):
    latents, texts, empty, *_ = made()
    stock_latents, stock_texts = MakeTrainingDataset.execute(
        [demo.pictures[:1], demo.pictures[1:]], [demo.vae], [demo.clip], CAPTIONS
    ).result
    assert len(latents) == len(texts) == 2 and same_text(empty, demo.empty)
    for latent, text in zip(stock_latents, stock_texts, strict=True):
        places = [k for k in range(2) if torch.equal(latents[k]["samples"], latent["samples"])]
        assert len(places) == 1 and same_text(texts[places[0]], text)


def test_the_order_of_the_folder_does_not_matter(made, demo):
    forwards, backwards = made(), made([demo.pictures[1:], demo.pictures[:1]], CAPTIONS[::-1])
    batch = made([demo.pictures])
    for other in (backwards, batch):
        assert all(torch.equal(one["samples"], two["samples"]) for one, two in zip(forwards[0], other[0], strict=True))
        assert all(same_text(one, two) for one, two in zip(forwards[1], other[1], strict=True))


def test_nothing_is_encoded_twice_unless_something_changed(made, demo, kept, monkeypatch):
    first = made()
    assert "5 encoded now, 0 taken from disk" in first[-1] and len(list(kept.iterdir())) == 5  # 2 pictures, 3 texts
    with monkeypatch.context() as sealed:
        sealed.setattr(type(demo.vae), "encode", lambda *_: pytest.fail("a picture was encoded again"))
        sealed.setattr(
            type(demo.clip), "encode_from_tokens_scheduled", lambda *_, **__: pytest.fail("a text was encoded again")
        )
        again = made()
    assert "0 encoded now, 5 taken from disk" in again[-1]
    assert all(torch.equal(one["samples"], two["samples"]) for one, two in zip(first[0], again[0], strict=True))
    assert same_text(first[1][0], again[1][0]) and same_text(first[2], again[2])
    assert "2 encoded now, 3 taken" in made([picture + 0.01 for picture in demo.pictures.split(1)])[-1]
    skipping = demo.clip.clone()
    skipping.clip_layer(-2)
    assert "3 encoded now, 2 taken" in made(clip=skipping)[-1]
    assert "5 encoded now" in made(cache_gb=0.0)[-1]


def test_a_text_encoder_with_a_lora_is_never_remembered(made, demo, kept):
    patched = demo.clip.clone()
    name = next(name for name in patched.patcher.model.state_dict() if name.endswith("q_proj.weight"))
    patched.add_patches({name: (torch.ones(768, 768),)})
    made(clip=patched)
    assert len(list(kept.iterdir())) == 2 and "3 encoded now, 2 taken" in made(clip=patched)[-1]


def test_sizes_are_shared_and_the_middle_is_kept(made, demo):
    wide = torch.tensor([0.12, 0.25, 0.86]).expand(1, 300, 900, 3).clone()  # blue and white: the demo VAE knows few
    wide[:, :, 400:500] = 0.96
    latents, _, _, _, _, report = made([wide, demo.pictures[:1]], resolution=128)
    assert sorted(tuple(latent["samples"].shape[2:]) for latent in latents) == [(8, 24), (16, 16)]
    assert "192 x 64 px: 1" in report and "128 x 128 px: 1" in report
    assert "1 pictures are smaller than what they are cut to" in report
    drawn = demo.vae.decode(next(latent["samples"] for latent in latents if latent["samples"].shape[2] == 8))[0]
    red = drawn[..., 0]
    assert red[:, 90:102].mean() > 0.8 and red[:, :70].mean() < 0.3 and red[:, 122:].mean() < 0.3


def test_pictures_are_held_out_with_their_captions(made):
    whole, split = made(), made(held_out=1)
    assert len(split[0]) == len(split[1]) == len(split[3]) == len(split[4]) == 1
    assert torch.equal(split[3][0]["samples"], whole[0][1]["samples"]) and same_text(split[4][0], whole[1][1])
    assert whole[3] == whole[4] == []


def test_a_folder_as_the_host_loads_it(made, tmp_path, monkeypatch, demo):
    folder = tmp_path / "input" / "pictures"
    folder.mkdir(parents=True)
    monkeypatch.setattr("folder_paths.get_input_directory", lambda: str(tmp_path / "input"))
    for number, picture in enumerate(demo.pictures):
        Image.fromarray((picture.numpy() * 255).round().astype("uint8")).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(CAPTIONS[number])
    images, texts = LoadImageTextDataSetFromFolderNode.execute("pictures").result
    assert len(made(images, texts)[0]) == 2
    (folder / "1.txt").unlink()
    images, texts = LoadImageTextDataSetFromFolderNode.execute("pictures").result
    with pytest.raises(ValueError, match="1 of 2 pictures have no caption"):
        made(images, texts)
    report = made(images, texts, missing_captions="train them without a text")[-1]
    assert "1 pictures are trained without a text" in report


def test_stop_is_heard_between_two_pictures(made, demo, kept):
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        made()
    assert not kept.exists()


REFUSED = {
    "nothing": (lambda d: {"images": []}, "^Smooth-LoRA Training Data: images is empty, .* wire a Load Image"),
    "captions": (lambda d: {"texts": ["a", "b", "c"]}, "there are 2 pictures but 3 captions"),
    "no captions": (lambda d: {"texts": []}, "texts is empty, because the node that is wired to it gave nothing; type"),
    "blank captions": (lambda d: {"texts": ["  ", "\n"]}, r"2 of 2 pictures have no caption \(number 1, 2 in the"),
    "many blanks": (lambda d: {"images": [d.pictures] * 6, "texts": [""] * 12}, r"\(number 1, .*, 8 and 4 more in the"),
    "nan": (lambda d: {"images": [d.pictures[:1], d.pictures[1:] * torch.nan]}, "picture 2 holds 12288 NaN"),
    "no picture": (lambda d: {"images": [d.pictures[:1], "x.png"]}, "images must be images in colour, got 'x.png'"),
    "a mask": (lambda d: {"images": [d.pictures[..., 0]] * 2}, "images must be images in colour, got a tensor"),
    "no vae": (lambda d: {"vae": None}, "vae is empty, because the checkpoint that it comes from has none"),
    "no clip": (lambda d: {"clip": None}, "clip is empty, because the checkpoint that it comes from has none"),
    "resolution": (lambda d: {"resolution": 100}, "resolution must be a multiple of 64, got 100"),
    "held out": (lambda d: {"held_out": 2}, "held_out is 2, but there are 2 pictures"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(made, demo, case):
    inputs, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence) as refused:
        made(**inputs(demo))
    assert "\n" not in str(refused.value)
