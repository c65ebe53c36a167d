"""The spherical spline against splines of angles, finite differences and degenerate keyframes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tolerance import EXACT

from smooth_lora.walks.mixing import Moments
from smooth_lora.walks.noise import NoisePath
from smooth_lora.walks.spline import Span, SphericalSpline
from smooth_lora.walks.walk import Walk

STEP = 1e-6


def keys(count, size=256, seed=0):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def point(path, place, segments, loop):
    """The path at `place`, measured in segments."""
    return path.at(Walk(frac=(place / segments,), numbers=(0,), total=1, loop=loop))[0]


def velocity_jumps(rows, rule, loop):
    """Difference of the one-sided velocities at every keyframe that has two sides, relative to the speed."""
    path, count = NoisePath(rows, rule), len(rows)
    segments = count if loop else count - 1
    jumps = []
    for k in range(0 if loop else 1, count if loop else count - 1):
        at, before = point(path, k, segments, loop), point(path, (k - STEP) % segments, segments, loop)
        arriving, leaving = (at - before) / STEP, (point(path, k + STEP, segments, loop) - at) / STEP
        jumps.append(((leaving - arriving).norm() / arriving.norm()).item())
    return jumps


@pytest.mark.parametrize("count", [3, 4, 7])
@pytest.mark.parametrize("loop", [False, True])
def test_no_kink_at_a_keyframe(count, loop):
    jumps = velocity_jumps(keys(count), "spline", loop)
    assert len(jumps) == (count if loop else count - 2)
    assert max(jumps) < 1e-3


def test_slerp_does_have_a_kink():
    """The same measurement on the great-circle polyline: the test above would see one."""
    assert min(velocity_jumps(keys(4), "slerp", False)) > 1.0


def test_no_kink_with_lengths_far_apart():
    rows = keys(5) * torch.tensor([1.0, 4.0, 0.2, 2.0, 1.0], dtype=torch.float64)[:, None]
    assert max(velocity_jumps(rows, "spline", True)) < 1e-3


def cubic(points, t):
    """A one-dimensional Bezier curve by its Bernstein form."""
    return sum(math.comb(3, k) * (1 - t) ** (3 - k) * t**k * p for k, p in enumerate(points))


@pytest.mark.parametrize("place", [0.0, 0.2, 0.5, 1.0, 1.3, 1.9, 2.0, 2.25, 3.0])
def test_on_a_plane_it_is_the_spline_of_the_angles(place):
    degrees = [0.0, 50.0, 20.0, 75.0]
    angles = np.radians(degrees)
    # Catmull-Rom in one dimension: half the way between the neighbours inside, the only way at an end
    slopes = [angles[1] - angles[0], (angles[2] - angles[0]) / 2, (angles[3] - angles[1]) / 2, angles[3] - angles[2]]
    i = min(int(place), 2)
    expected = cubic(
        [angles[i], angles[i] + slopes[i] / 3, angles[i + 1] - slopes[i + 1] / 3, angles[i + 1]], place - i
    )
    rows = torch.tensor([[math.cos(a), math.sin(a)] for a in angles], dtype=torch.float64)
    found = point(NoisePath(rows, "spline"), place, 3, False)
    torch.testing.assert_close(
        found, torch.tensor([math.cos(expected), math.sin(expected)], dtype=torch.float64), atol=1e-12, rtol=0
    )


def test_evenly_spaced_on_a_great_circle_it_is_that_circle_at_constant_speed():
    rows = torch.tensor([[math.cos(a), math.sin(a), 0.0] for a in np.radians([0, 40, 80, 120])], dtype=torch.float64)
    path = NoisePath(rows, "spline")
    for place in np.linspace(0, 3, 13):
        expected = math.radians(40 * place)
        torch.testing.assert_close(
            point(path, place, 3, False),
            torch.tensor([math.cos(expected), math.sin(expected), 0.0], dtype=torch.float64),
            atol=1e-12,
            rtol=0,
        )


def test_lengths_follow_the_spline_of_their_logarithms():
    rows = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 8.0]], dtype=torch.float64)
    # logarithms 0, 1, 3 (base 2); slopes 1, 1.5, 2
    expected = 2 ** cubic([1, 1.5, 3 - 2 / 3, 3], 0.25)
    assert point(NoisePath(rows, "spline"), 1.25, 2, False).norm().item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loop", [False, True])
def test_it_passes_through_the_keyframes_exactly_and_stays_on_the_sphere(loop):
    rows = keys(6)
    rows = rows / rows.norm(dim=1, keepdim=True)
    path, segments = NoisePath(rows, "spline"), 6 if loop else 5
    for k in range(6):
        assert torch.equal(point(path, k, segments, loop), rows[k])
    for place in np.linspace(0, segments, 31)[:-1]:
        assert point(path, place, segments, loop).norm().item() == pytest.approx(1.0, abs=1e-12)


def test_two_keyframes_are_slerp_and_a_loop_of_two_goes_there_and_back():
    rows = keys(2)
    spline, slerp = NoisePath(rows, "spline"), NoisePath(rows, "slerp")
    for place in (0.0, 0.3, 1.0):
        assert torch.equal(point(spline, place, 1, False), point(slerp, place, 1, False))
    for place in (0.25, 0.5, 1.0):
        torch.testing.assert_close(point(spline, place, 2, True), point(spline, 2 - place, 2, True), atol=1e-12, rtol=0)
    assert torch.equal(point(spline, 1.0, 2, True), rows[1])


def test_a_loop_does_not_depend_on_where_it_starts():
    rows = keys(5)
    path, turned = NoisePath(rows, "spline"), NoisePath(rows.roll(-2, 0), "spline")
    for place in (0.0, 0.4, 2.7, 4.9):
        torch.testing.assert_close(
            point(path, (place + 2) % 5, 5, True), point(turned, place, 5, True), atol=1e-11, rtol=0
        )


def test_reversed_keyframes_give_the_reversed_curve():
    rows = keys(4)
    path, back = NoisePath(rows, "spline"), NoisePath(rows.flip(0), "spline")
    for place in (0.1, 1.5, 2.8):
        torch.testing.assert_close(point(path, place, 3, False), point(back, 3 - place, 3, False), atol=1e-11, rtol=0)


a, b = keys(2, seed=9)


@pytest.mark.parametrize(
    "rows",
    [
        [a, a, a],
        [a, a, b],
        [a, b, b, a],
        [a, 2 * a, 0.5 * a],
        [a, -a, a],
        [a, -a, b],
        [a, b, -a, -b],
        [a, -2 * a],
        [a, a + 1e-9 * b, b],
        [a, -a + 1e-9 * b, b],
    ],
    ids=[
        "same",
        "hold",
        "hold inside",
        "parallel",
        "opposite",
        "opposite then free",
        "antipodal square",
        "opposite two",
        "nearly same",
        "nearly opposite",
    ],
)
@pytest.mark.parametrize("loop", [False, True])
def test_degenerate_keyframes_have_a_finite_curve(rows, loop):
    rows = torch.stack(rows)
    path, segments = NoisePath(rows, "spline"), len(rows) if loop else len(rows) - 1
    frames = torch.stack([point(path, place, segments, loop) for place in np.linspace(0, segments, 41)[:-1]])
    assert torch.isfinite(frames).all()
    lengths = rows.norm(dim=1)
    assert frames.norm(dim=1).min() > 0.4 * lengths.min()
    assert frames.norm(dim=1).max() < 2.5 * lengths.max()


def test_logarithm_and_exponential_undo_each_other():
    span = Span(Moments.of(keys(3)).cosine)
    u, v = span.vector(0), span.vector(2)
    np.testing.assert_allclose(span.exp(u, span.log(u, v)), v, atol=1e-12)
    np.testing.assert_allclose(span.log(u, u), 0, atol=EXACT)  # a cosine of 1 may lack its last digit
    assert np.array_equal(span.exp(u, np.zeros(3)), u)


def test_a_segment_is_built_once_and_only_when_asked_for():
    span = Span(Moments.of(keys(4)).cosine)
    spline = SphericalSpline(span, np.ones(4), loop=False)
    first = spline.at(1, 0.5)
    assert list(spline._controls) == [1]
    assert np.array_equal(spline.at(1, 0.5), first)


def test_opposite_numbers_have_no_way_around_zero():
    rows = torch.tensor([[1.0], [-1.0], [1.0]], dtype=torch.float64)
    with pytest.raises(ValueError, match="opposite keyframes of a single element"):
        point(NoisePath(rows, "spline"), 0.5, 2, False)
