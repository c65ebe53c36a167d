"""Memory that runs out in the middle: walks go on in smaller batches, everything else says what to lower."""

from __future__ import annotations

import random
import weakref

import comfy.model_base
import comfy.model_management
import comfy.samplers
import pytest
import torch

from smooth_lora.walks.walk import schedule

pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")

FRAMES = 7


@pytest.fixture
def wires(demo, node):
    """A walk of the demo checkpoint."""
    guider = comfy.samplers.CFGGuider(demo.model)
    guider.set_conds(demo.first, demo.empty)
    guider.set_cfg(3.0)
    sigmas = comfy.samplers.calculate_sigmas(demo.model.get_model_object("model_sampling"), "normal", 2)
    return {
        "guider": guider,
        "sampler": comfy.samplers.sampler_object("euler"),
        "sigmas": sigmas,
        "vae": demo.vae,
        "noise": node("SmoothSeedWalk").execute("3, 4", "slerp")[0],
        "walk": schedule(FRAMES),
        "latent_image": {"samples": torch.zeros(1, 4, 8, 8)},
        "frames_per_batch": FRAMES,
    }


@pytest.fixture
def room_for(monkeypatch):
    """room_for(rows): no call of the model with more rows than that has enough memory; the rows of those made."""
    made, inner = [], comfy.model_base.BaseModel.apply_model

    def arm(rows: int) -> list[int]:
        def apply_model(self, x, *args, **kwargs):
            if x.shape[0] > rows:
                raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")
            made.append(x.shape[0])
            return inner(self, x, *args, **kwargs)

        monkeypatch.setattr(comfy.model_base.BaseModel, "apply_model", apply_model)
        return made

    return arm


@pytest.mark.parametrize(("pacing", "most"), [("uniform", 2), ("even", 1)])
def test_a_walk_goes_on_in_smaller_batches(node, wires, room_for, pacing, most):
    sampler = node("SmoothWalkSampler")
    plain = sampler.execute(**wires, pacing=pacing, extra_frames=4)
    made = room_for(2 * most)  # frames with both texts
    found = sampler.execute(**wires, pacing=pacing, extra_frames=4)
    assert max(made) == 2 * most
    torch.testing.assert_close(found[1], plain[1], atol=1e-4, rtol=0)
    assert f"Memory ran out, so batches became smaller, down to {most} per batch" in found[2]
    assert "Memory ran out" not in plain[2]


def test_the_page_is_shown_every_frame_once(node, wires, room_for, pack_module):
    shown = []
    room_for(4)
    given = {{"latent_image": "latent"}.get(name, name): wire for name, wire in wires.items()}
    wired = pack_module("nodes.walks.walk_wires").WalkWires(**given)
    pack_module("nodes.walks.render").render_walk(wired, show=shown.append)
    assert sum(map(len, shown)) == FRAMES


def test_one_frame_that_does_not_fit_says_what_to_lower(node, wires, room_for):
    room_for(0)
    with pytest.raises(
        torch.OutOfMemoryError,
        match="Walk Sampler: memory ran out in a single frame; make the frames smaller, use a smaller",
    ):
        node("SmoothWalkSampler").execute(**wires)


def test_what_the_failed_batch_held_is_free_before_the_next(node, wires, monkeypatch, pack_module):
    held, inner = [], comfy.model_base.BaseModel.apply_model

    def apply_model(self, x, *args, **kwargs):
        if x.shape[0] > 4:
            large = torch.zeros(1000)
            held.append(weakref.ref(large))
            raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")
        assert held and all(ref() is None for ref in held)
        return inner(self, x, *args, **kwargs)

    monkeypatch.setattr(comfy.model_base.BaseModel, "apply_model", apply_model)
    node("SmoothWalkSampler").execute(**wires)


@pytest.mark.parametrize("seed", range(10))
def test_memory_that_runs_out_at_random_costs_no_frame(node, wires, monkeypatch, seed):
    """Of a walk in batches of up to three; a single frame always fits."""
    sampler, generator, inner = node("SmoothWalkSampler"), random.Random(seed), comfy.model_base.BaseModel.apply_model
    given = {**wires, "frames_per_batch": 3}
    plain = sampler.execute(**given)[1]

    def apply_model(self, x, *args, **kwargs):
        if x.shape[0] > 2 and generator.random() < 0.4:
            raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")
        return inner(self, x, *args, **kwargs)

    monkeypatch.setattr(comfy.model_base.BaseModel, "apply_model", apply_model)
    torch.testing.assert_close(sampler.execute(**given)[1], plain, atol=1e-4, rtol=0)


def test_other_errors_are_not_taken_for_it(node, wires, monkeypatch):
    def apply_model(self, *args, **kwargs):
        raise RuntimeError("something else")

    monkeypatch.setattr(comfy.model_base.BaseModel, "apply_model", apply_model)
    with pytest.raises(RuntimeError, match="^something else$"):
        node("SmoothWalkSampler").execute(**wires)


def test_an_inversion_says_what_to_lower(node, demo, room_for):
    room_for(0)
    with pytest.raises(torch.OutOfMemoryError, match="Invert Picture: memory ran out; invert fewer or smaller"):
        node("SmoothInvert").execute(
            demo.model,
            demo.first,
            demo.empty,
            "ddim",
            1.0,
            3,
            "ddim_uniform",
            latent_image={"samples": demo.latent},
            cache_gb=0.0,
        )
