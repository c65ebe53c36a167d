"""The Noise Mix in the real host."""

from __future__ import annotations

import pytest
import torch
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise

from smooth_lora.walks.noise import seed_noise
from smooth_lora.walks.walk import schedule

pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")

EMPTY = {"samples": torch.zeros(1, 4, 16, 16)}


def wires(*values) -> dict:
    return {f"noise_{place}": value for place, value in enumerate(values)}


@pytest.fixture
def mix(node):
    return lambda weights, *values: node("SmoothNoiseMix").execute(wires(*values), weights)[0]


def test_three_seeds_in_equal_parts(mix):
    """By hand: the sum of the seeds at mean 0 and deviation 1, brought to their average mean and deviation."""
    seeds = [seed_noise(seed, (4, 16, 16)) for seed in (1, 2, 3)]
    found = mix("1, 1, 1", *(Noise_RandomNoise(seed) for seed in (1, 2, 3))).generate_noise(EMPTY)
    total = sum((seed - seed.mean()) / seed.std(correction=0) for seed in seeds)
    std = sum(seed.std(correction=0) for seed in seeds) / 3
    expected = (total - total.mean()) / total.std(correction=0) * std + sum(seed.mean() for seed in seeds) / 3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_inverted_pictures_that_resemble_each_other(mix):
    """Two latents of correlation 0.6: the plain mean has a deviation of 0.89, the plain sum over sqrt 2 one of 1.26."""
    a, b = (seed_noise(seed, (4, 16, 16)) for seed in (1, 2))
    pictures = {"samples": torch.cat([a, 0.6 * a + 0.8 * b])}
    found = mix("1, 1", pictures).generate_noise(EMPTY)
    assert float(found.std()) == pytest.approx(float(pictures["samples"].flatten(1).std(1).mean()), rel=1e-5)


def test_it_is_a_keyframe_of_a_walk_and_the_same_in_a_batch(mix, node):
    mixed = mix("1, -0.5", Noise_RandomNoise(1), Noise_RandomNoise(2))
    walk = node("SmoothNoiseWalk").execute(
        {"keyframe_0": mixed, "keyframe_1": Noise_RandomNoise(3)}, "slerp", schedule(3)
    )[0]
    frames = walk.generate_noise({"samples": torch.zeros(3, 4, 16, 16)})
    alone = mixed.generate_noise(EMPTY)
    assert torch.equal(frames[:1], alone)
    assert torch.equal(mixed.generate_noise({"samples": torch.zeros(2, 4, 16, 16)}), alone.repeat(2, 1, 1, 1))


def test_its_seed_follows_noises_and_weights(mix):
    made = [
        mix(weights, *(Noise_RandomNoise(seed) for seed in seeds)).seed
        for weights, seeds in (("1, 1", (1, 2)), ("1, 2", (1, 2)), ("1, 1", (1, 3)), ("1, 1", (1, 2)))
    ]
    assert len(set(made)) == 3 and made[0] == made[3] and all(0 <= seed < 2**64 for seed in made)


@pytest.mark.parametrize(
    "weights, message",
    [
        ("1", r"Noise Mix: 1 weights are given for 2 noises \(noise_0, noise_1\); give one weight for each"),
        ("1, 2, 3", "3 weights are given for 2 noises"),
        ("0, 0", "the weights 0, 0 mix nothing"),
        ("1, inf", "the weights 1, inf mix nothing"),
        ("1, nan", "the weights 1, nan mix nothing"),
        ("1, two", "weights must be numbers separated by commas; got 'two'"),
        ("", "0 weights are given"),
    ],
)
def test_bad_weights(mix, weights, message):
    with pytest.raises(ValueError, match=message):
        mix(weights, Noise_RandomNoise(1), Noise_RandomNoise(2))


def test_noises_that_cancel_and_pictures_that_are_none(mix):
    with pytest.raises(ValueError, match="cancel each other"):
        mix("1, -1", Noise_RandomNoise(1), Noise_RandomNoise(1)).generate_noise(EMPTY)
    with pytest.raises(ValueError, match="Noise Mix: noise_1 is all zeros"):
        mix("1, 1", Noise_RandomNoise(1), EMPTY)
