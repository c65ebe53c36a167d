"""What the Walk Sampler adds around the model: nothing that waits for the device at every step, nothing that breaks a
compiled model into more graphs or has it compiled again for every chunk."""

from __future__ import annotations

from collections import Counter

import comfy.model_management
import comfy.samplers
import pytest
import torch
import torch._dynamo.testing
from comfy_api.torch_helpers import set_torch_compile_wrapper
from torch.utils._python_dispatch import TorchDispatchMode

from smooth_lora.walks.walk import schedule

pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")

FRAMES, BATCH = 8, 4


class Waits(TorchDispatchMode):
    """Counts what makes Python wait for a number from the device."""

    NAMES = ("local_scalar", "nonzero", "equal", "unique", "masked_select")

    def __init__(self):
        super().__init__()
        self.seen: Counter = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen[str(function)] += any(name in str(function) for name in self.NAMES)
        return function(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def memory_that_stands_still(monkeypatch):
    """The host's attention asks for the free memory, and torch compiles once more as soon as it hears another number:
    what else the machine does would decide how many graphs are counted."""
    free = comfy.model_management.get_free_memory()
    monkeypatch.setattr(
        comfy.model_management,
        "get_free_memory",
        lambda dev=None, torch_free_too=False: (free, free) if torch_free_too else free,
    )


@pytest.fixture
def guided(checkpoint, node):
    def make(model, prompts: str):
        text = node("SmoothPromptWalk").execute(checkpoint[1], prompts, "lerp", schedule(BATCH))[0]
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(text, node("CLIPTextEncode")().encode(checkpoint[1], "")[0])
        guider.set_cfg(3.0)
        return guider

    return make


@pytest.fixture
def walked(checkpoint, node, guided):
    """walked(model, steps, frames): rendered by the Walk Sampler in chunks of BATCH."""

    def run(model, steps: int, frames: int = FRAMES) -> torch.Tensor:
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
        noise = node("SmoothSeedWalk").execute("3, 4", "slerp")[0]
        return node("SmoothWalkSampler").execute(
            guided(model, "a red circle on a blue background\na green square on a white background"),
            comfy.samplers.sampler_object("euler"),
            sigmas,
            noise,
            {"samples": torch.zeros(1, 4, 8, 8)},
            schedule(frames),
            None,
            BATCH,
        )[0]["samples"]

    return run


@pytest.fixture
def bare(guided):
    """bare(model, steps): one chunk by the host alone."""

    def run(model, steps: int) -> torch.Tensor:
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
        return guided(model, "a red circle on a blue background").sample(
            torch.randn(BATCH, 4, 8, 8),
            torch.zeros(BATCH, 4, 8, 8),
            comfy.samplers.sampler_object("euler"),
            sigmas,
            disable_pbar=True,
            seed=3,
        )

    return run


def waits(run, *args) -> int:
    with Waits() as counted:
        run(*args)
    return sum(counted.seen.values())


def test_no_step_waits_for_the_device(checkpoint, walked):
    assert waits(walked, checkpoint[0], 9, BATCH) == waits(walked, checkpoint[0], 3, BATCH)


def test_a_wait_would_be_seen(checkpoint, node, walked):
    """The Attention Walk asks once a step, and says so."""
    model = node("SmoothAttentionWalk").execute(checkpoint[0], "fused inner", 1.0)[0]
    assert waits(walked, model, 9, BATCH) - waits(walked, model, 3, BATCH) == 6


def graphs(model, run, *args) -> tuple[int, int]:
    """How many graphs torch.compile makes of the model in a run, and how many operations are in them."""
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    compiled = model.clone()
    set_torch_compile_wrapper(compiled, backend=counter)
    run(compiled, *args)
    return counter.frame_count, counter.op_count


def test_a_compiled_model_is_compiled_once_for_all_chunks(checkpoint, walked, bare):
    """As often as by the host for a single batch of this size, once torch has compiled anything at all."""
    graphs(checkpoint[0], bare, 2)
    assert graphs(checkpoint[0], walked, 2) == graphs(checkpoint[0], bare, 2)


def test_a_compiled_model_gives_the_same_frames(checkpoint, walked):
    compiled = checkpoint[0].clone()
    torch._dynamo.reset()
    set_torch_compile_wrapper(compiled, backend="eager")
    torch.testing.assert_close(walked(compiled, 3), walked(checkpoint[0], 3), rtol=1e-4, atol=1e-4)


def test_an_attention_walk_is_not_compiled_again_for_every_chunk(checkpoint, node, walked):
    model = node("SmoothAttentionWalk").execute(checkpoint[0], "fused inner", 1.0)[0]
    few, many = graphs(model, walked, 2, 2 * BATCH + 1), graphs(model, walked, 2, 6 * BATCH + 1)
    assert many[0] <= few[0]
