"""Training on the host's network: true gradients by every estimator, texts row by row, and a network left as it was."""

from __future__ import annotations

from functools import partial

import comfy.model_management
import comfy.samplers
import pytest
import torch
import train_scene
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")


@pytest.fixture
def on_the_network(pack_module, demo):
    return partial(train_scene.on_the_network, pack_module, demo)


@pytest.fixture
def gradient(pack_module, demo):
    return partial(train_scene.gradient, pack_module, demo)


def distance(actual, expected) -> float:
    return float((actual - expected).norm() / expected.norm())


def forwards(network) -> list[bool]:
    return ["forward" in module.__dict__ for module in network.modules()]


def test_first_order_on_the_trained_network_falls_with_the_square_of_the_step(gradient):
    """Its slope is steep between two pictures, so the step has to be small; float32 leaves about 5e-4."""
    expected = gradient("exact")
    errors = [distance(gradient("first_order", step), expected) for step in (1e-3, 5e-4, None)]
    assert errors[2] < 2e-3 < errors[0] and errors[0] / errors[1] == pytest.approx(4, rel=0.5)


def test_recomputed_blocks_give_the_same_gradient(gradient):
    assert distance(gradient("first_order", low_memory=True), gradient("first_order")) < 2e-3


def test_v_prediction_too(gradient, demo):
    model = ModelSamplingDiscrete().patch(demo.model, "v_prediction", False)[0]
    assert distance(gradient("first_order", model=model), gradient("exact", model=model)) < 5e-3


def test_every_row_has_its_own_text_and_the_empty_one_where_it_is_left_out(on_the_network, demo, pack_module):
    """Against the host's own guider with one text at a time, which gives the same to rounding."""
    found = {}

    def job(network, sample, scale):
        x = sample.noisy(scale)
        with torch.no_grad():
            for name, empty in (("own", [False, False]), ("second empty", [False, True])):
                found[name] = network.denoiser_for([0, 1], empty)(x, sample.sigma)
        found["x"] = x

    pairs = on_the_network(job)
    for name, texts in (("own", (demo.first, demo.second)), ("second empty", (demo.first, demo.empty))):
        for row, text in enumerate(texts):
            guider, sigma = comfy.samplers.CFGGuider(demo.model), float(train_scene.SIGMAS[row])
            guider.set_conds(text, [])
            expected = plain_call(pack_module, guider, pairs, found["x"][row : row + 1], sigma)
            assert distance(found[name][row : row + 1], expected) < 1e-4


def plain_call(pack_module, guider, pairs, x, sigma: float) -> torch.Tensor:
    """The host's own sampling of one step, with the pairs added by hand."""
    addition = pack_module("nodes.model.layers")
    found = []

    class Once(comfy.samplers.Sampler):
        def sample(self, model_wrap, sigmas, extra_args, *args, **kwargs):
            additions = [addition.Addition(path, (pair.down, pair.up, None)) for path, pair in pairs.items()]
            with addition.added(model_wrap.inner_model.diffusion_model, additions):
                found.append(model_wrap(x.clone(), torch.tensor([sigma]), **extra_args))
            return found[0]

    guider.sample(torch.zeros_like(x), torch.zeros_like(x), Once(), torch.tensor([1.0, 0.0]), disable_pbar=True)
    return found[0]


@pytest.mark.parametrize("low_memory", [False, True])
def test_the_network_is_as_it_was_even_after_a_stop(on_the_network, demo, low_memory):
    network = demo.model.model.diffusion_model
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    shape = forwards(network)

    def job(net, sample, scale):
        comfy.model_management.interrupt_current_processing()
        net.denoiser_for([0, 1], [False, False])(sample.noisy(scale), sample.sigma)

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        on_the_network(job, low_memory=low_memory)
    assert forwards(network) == shape and not comfy.model_management.in_training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_targets_of_the_network(pack_module, demo):
    targets = pack_module("nodes.training.targets")
    network = demo.model.model.diffusion_model
    found = {name: targets.target_shapes(network, name) for name in targets.TARGETS}
    assert len(found["attention"]) == 3 * 2 * 4  # blocks, self- and cross-attention, projections
    assert set(found["attention"].values()) == {(320, 320), (320, 768)}
    assert len(found[targets.ATTENTION_FF]) == 24 + 3 * 2
    assert any(len(shape) == 4 for shape in found[targets.EVERYTHING].values())
    with pytest.raises(ValueError, match="targets: this model has no layers known as attention; choose 'every linear"):
        targets.target_shapes(torch.nn.Sequential(torch.nn.Linear(2, 2)), "attention")
