"""Picture scores against scikit-image and closed forms; whiteness and whitening against noise of known colour."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from tolerance import EXACT, rounding
from torch import Tensor

from smooth_lora.inversion.whiteness import Whiteness, whiten, whiteness
from smooth_lora.scores.quality import mse, psnr, relative_error, ssim

SCORES = (mse, psnr, ssim)
# Float64 sums of values up to 1; ssim divides by variances, differences of squares that are a twelfth of it here.
SUMMED = 12 * EXACT


def pictures(batch: int = 3, size: tuple[int, int, int] = (24, 17, 3), seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, *size, generator=generator)


def near(a: Tensor, seed: int = 1, strength: float = 0.1) -> Tensor:
    """The pictures with noise on them, the first little and the last much."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(0.2, 1, len(a)).reshape(-1, 1, 1, 1) * strength
    return (a + scale * torch.randn(a.shape, generator=generator)).clamp(0, 1)


def white(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def boxed(noise: Tensor, width: int, axes: tuple[int, ...] = (-2, -1)) -> Tensor:
    """Circular box blur, scaled to standard deviation 1; neighbours along each blurred axis: 1 - 1 / width."""
    for axis in axes:
        noise = sum(noise.roll(i, axis) for i in range(width)) / math.sqrt(width)
    return noise


def autoregressive(noise: Tensor, rho: float, axis: int) -> Tensor:
    """x[i] = rho x[i - 1] + sqrt(1 - rho^2) e[i]: neighbours along the axis correlate by rho."""
    values = list(noise.unbind(axis))
    for i in range(1, len(values)):
        values[i] = rho * values[i - 1] + math.sqrt(1 - rho * rho) * values[i]
    return torch.stack(values, axis)


def photo_like(*shape: int, seed: int = 0) -> Tensor:
    """White noise that is three times as strong at the slow frequencies."""
    down, across = (torch.fft.fftfreq(size) for size in shape[-2:])
    gain = 1 + 2 * torch.exp(-((down[:, None] ** 2 + across**2) / 0.1**2))
    return torch.fft.ifft2(torch.fft.fft2(white(*shape, seed=seed)) * gain).real


def lag_one(noise: Tensor, axis: int) -> float:
    """Correlation of neighbours along one axis, written down once more."""
    deviation = noise.double() - noise.double().mean(dim=tuple(range(2, noise.ndim)), keepdim=True)
    size = noise.shape[axis]
    products = deviation.narrow(axis, 0, size - 1) * deviation.narrow(axis, 1, size - 1)
    return float(products.mean() / deviation.square().mean())


class TestAgainstScikitImage:
    @pytest.mark.parametrize("size", [(24, 17, 3), (11, 11, 1), (11, 40, 4), (33, 12, 3)])
    def test_ssim(self, size):
        a = pictures(size=size).double()
        b = near(a)
        expected = [
            structural_similarity(
                x.numpy(),
                y.numpy(),
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=1.0,
                channel_axis=-1,
            )
            for x, y in zip(a, b, strict=True)
        ]
        assert ssim(a, b).tolist() == pytest.approx(expected, abs=SUMMED)
        assert len({round(value, 3) for value in expected}) == 3

    def test_ssim_of_flat_pictures_whose_variance_is_rounding(self):
        a, b = torch.full((1, 16, 16, 3), 0.3).double(), torch.full((1, 16, 16, 3), 0.7).double()
        closed_form = (2 * 0.3 * 0.7 + 1e-4) / (0.3**2 + 0.7**2 + 1e-4)
        assert ssim(a, b).item() == pytest.approx(closed_form, abs=1e-6)  # 0.3 and 0.7 are float32 numbers

    def test_psnr(self):
        a = pictures().double()
        b = near(a)
        expected = [peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=1.0) for x, y in zip(a, b, strict=True)]
        assert psnr(a, b).tolist() == pytest.approx(expected, rel=SUMMED)


@pytest.mark.parametrize("offset", [0.5, 0.1, 1 / 255])
def test_a_constant_offset_has_a_closed_form(offset):
    a = pictures().double() * 0.5
    # a + offset is rounded beside 1, and the error is its difference from a.
    close = EXACT / offset
    assert mse(a, a + offset).tolist() == pytest.approx([offset**2] * 3, rel=close)
    assert psnr(a, a + offset).tolist() == pytest.approx([-20 * math.log10(offset)] * 3, rel=close)


def test_black_beside_white_is_the_largest_error():
    black, blank = torch.zeros(1, 12, 12, 3), torch.ones(1, 12, 12, 3)
    assert (mse(black, blank).item(), psnr(black, blank).item()) == (1.0, 0.0)  # sums of ones are exact
    # C1 and C2 alone are left of differences of numbers near 1: the smaller is 1e-4 of them.
    assert ssim(black, blank).item() == pytest.approx(1e-4 / (1 + 1e-4), rel=EXACT / 1e-4)


def test_equal_pictures():
    a = pictures()
    assert mse(a, a.clone()).tolist() == [0.0] * 3
    assert psnr(a, a.clone()).tolist() == [math.inf] * 3
    assert ssim(a, a.clone()).tolist() == pytest.approx([1.0] * 3, abs=SUMMED)


def test_each_picture_has_its_own_decibels():
    a = torch.zeros(2, 12, 12, 1)
    b = torch.stack([torch.full((12, 12, 1), 0.1), torch.full((12, 12, 1), 0.001)])
    assert psnr(a, b).tolist() == pytest.approx([20, 60], rel=1e-6)


@pytest.mark.parametrize("measure", [*SCORES, relative_error])
def test_a_batch_of_one_scores_as_the_element_of_a_batch(measure):
    a = pictures(4)
    b = near(a)
    together = measure(a, b)
    assert together.dtype == torch.float64
    assert together.shape == (4,)
    for i in range(4):
        assert torch.equal(measure(a[i : i + 1], b[i : i + 1]), together[i : i + 1])


@pytest.mark.parametrize("measure", [*SCORES, relative_error])
def test_pictures_are_left_alone_and_may_be_views(measure):
    a = pictures()
    b = near(a).requires_grad_()
    kept = a.clone(), b.detach().clone()
    result = measure(a, b)
    assert not result.requires_grad
    assert torch.equal(a, kept[0])
    assert torch.equal(b, kept[1])
    turned = measure(a.transpose(1, 2), b.transpose(1, 2))
    assert turned.tolist() == pytest.approx(result.tolist(), rel=SUMMED)


@pytest.mark.parametrize("measure", SCORES)
def test_scores_are_symmetric_and_fall_with_the_damage(measure):
    a = pictures()
    b = near(a)
    assert measure(a, b).tolist() == pytest.approx(measure(b, a).tolist(), rel=SUMMED)
    order = measure(a, b) if measure is mse else -measure(a, b)
    assert bool((order.diff() > 0).all())


# Half precision stores a value on 0..1 to 2^-12 (bfloat16: 2^-9), which is added to the damage.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_half_precision_scores_alike(dtype, tolerance):
    a = pictures()
    b = near(a)
    assert ssim(a.to(dtype), b.to(dtype)).tolist() == pytest.approx(ssim(a, b).tolist(), abs=tolerance)
    assert mse(a.to(dtype), b.to(dtype)).tolist() == pytest.approx(mse(a, b).tolist(), rel=tolerance)


class TestRelativeError:
    def test_values_computed_by_hand(self):
        reference = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
        x = torch.tensor([[3.0, 4.5], [2.0, 2.0]])
        assert relative_error(x, reference).tolist() == pytest.approx([0.1, 1.0], rel=EXACT)

    def test_scale_and_shape_do_not_matter(self):
        reference, x = white(2, 4, 3, 8, 8), white(2, 4, 3, 8, 8, seed=1)
        plain = relative_error(x, reference)
        assert relative_error(x * 8, reference * 8).tolist() == pytest.approx(plain.tolist(), rel=EXACT)
        assert relative_error(x.flatten(1), reference.flatten(1)).tolist() == pytest.approx(plain.tolist(), rel=EXACT)
        # 1.25 times a float32 number is rounded to one, by half a step of a number that is five times the difference.
        assert relative_error(reference * 1.25, reference).tolist() == pytest.approx(
            [0.25] * 2, rel=5 * rounding(torch.float32, 0.5)
        )

    def test_a_reference_of_zeros(self):
        x = torch.zeros(2, 4)
        x[1, 0] = 1e-30
        assert relative_error(x, torch.zeros(2, 4)).tolist() == [0.0, math.inf]

    def test_one_number_per_sample_is_a_vector_of_length_one(self):
        assert relative_error(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0])).tolist() == pytest.approx(
            [0.5, 0.5], rel=EXACT
        )


class TestWhiteness:
    def test_values_computed_by_hand(self):
        # Channel means 0 and 2; deviations 1, -1, 1, -1 both; neighbours along the only axis that has any.
        noise = torch.tensor([[1.0, -1, 1, -1], [3, 1, 3, 1]]).reshape(1, 2, 1, 4)
        (found,) = whiteness(noise)
        values = np.array([1, -1, 1, -1, 3, 1, 3, 1], dtype=float) - 1
        kurtosis = (values**4).mean() / (values**2).mean() ** 2 - 3
        expected = Whiteness(mean=1.0, std=math.sqrt(2), kurtosis=kurtosis, neighbour=-1.0)
        assert vars(found) == pytest.approx(vars(expected), rel=EXACT)

    # Five standard errors: of mean 1, std 0.71, kurtosis 4.9, neighbour at most 0.71, each over sqrt(values).
    @pytest.mark.parametrize("shape", [(3, 4, 64, 64), (2, 4, 5, 32, 48), (2, 16, 32, 32)])
    def test_white_noise(self, shape):
        error = 5 / math.sqrt(math.prod(shape[1:]))
        found = whiteness(white(*shape))
        assert len(found) == shape[0]
        for sample in found:
            assert abs(sample.mean) < error
            assert abs(sample.std - 1) < 0.71 * error
            assert abs(sample.kurtosis) < 4.9 * error
            assert abs(sample.neighbour) < 0.71 * error

    # Smooth noise has fewer independent values, so wider errors: 5 / sqrt(4 * 64 * 64 / 10) at worst.
    @pytest.mark.parametrize("width", [2, 3, 5])
    def test_box_blurred_noise(self, width):
        (found,) = whiteness(boxed(white(1, 4, 64, 64), width))
        assert found.neighbour == pytest.approx(1 - 1 / width, abs=0.05)
        assert found.std == pytest.approx(1, abs=0.1)

    @pytest.mark.parametrize("rho", [0.3, 0.8, -0.5])
    def test_autoregressive_noise_along_one_of_two_axes(self, rho):
        for axis in (-2, -1):
            (found,) = whiteness(autoregressive(white(1, 4, 64, 64), rho, axis))
            assert found.neighbour == pytest.approx(rho / 2, abs=0.05)

    def test_autoregressive_noise_along_a_videos_time(self):
        (found,) = whiteness(autoregressive(white(1, 4, 24, 32, 32), 0.9, 2))
        assert found.neighbour == pytest.approx(0.9 / 3, abs=0.05)

    def test_an_even_spread_has_light_tails_and_a_laplace_one_heavy_tails(self):
        uniform = pictures(1, (64, 64, 4)).permute(0, 3, 1, 2)
        assert whiteness(uniform)[0].kurtosis == pytest.approx(-1.2, abs=0.03)
        laplace = torch.log(uniform.clamp(min=1e-9)) * torch.sign(white(1, 4, 64, 64))
        assert whiteness(laplace)[0].kurtosis == pytest.approx(3, abs=1)

    def test_colour_of_channels_is_no_correlation_and_scale_does_not_matter(self):
        noise = white(1, 4, 64, 64)
        shifted = noise * 3 + torch.tensor([0.0, 5, -5, 9]).reshape(1, 4, 1, 1)
        assert whiteness(shifted)[0].neighbour == pytest.approx(whiteness(noise)[0].neighbour, abs=1e-6)
        assert whiteness(shifted)[0].std > 3

    def test_one_constant_channel_is_measured_and_one_sample_does_not_depend_on_others(self):
        noise = white(3, 4, 16, 16)
        noise[1, 2] = 0.1
        assert [whiteness(noise[i : i + 1])[0] for i in range(3)] == whiteness(noise)


COLOURS = {
    "white": white(2, 4, 64, 64),
    "photo": photo_like(2, 4, 64, 64),
    "photo, wide": photo_like(2, 4, 32, 96),
    "smooth": autoregressive(autoregressive(white(2, 4, 64, 64), 0.7, -1), 0.7, -2),
    "rows": autoregressive(white(2, 4, 64, 64), 0.7, -1),
    "columns, strong and off centre": autoregressive(white(2, 4, 64, 64), 0.7, -2) * 4 + 2,
    "rough": autoregressive(white(2, 4, 64, 64), -0.5, -1),
    "video": autoregressive(photo_like(1, 4, 8, 32, 32), 0.8, 2),
}
coloured = pytest.mark.parametrize("noise", COLOURS.values(), ids=COLOURS.keys())


class TestWhiten:
    @coloured
    def test_neighbours_along_every_axis_become_independent(self, noise):
        clean = whiten(noise, 1)
        # Opposite edges, taken for neighbours, leave about 1 / n; the rest is what the smoothing cannot follow.
        for axis in range(2, noise.ndim):
            assert abs(lag_one(clean, axis)) < 1.2 / (noise.shape[axis] - 1) + 0.01
        for sample in whiteness(clean):
            assert abs(sample.neighbour) < (0.03 if noise.ndim == 4 else 0.07)

    @coloured
    def test_each_channel_has_mean_0_and_std_1(self, noise):
        channels = whiten(noise, 1).double().flatten(2)
        # Each value was rounded to float32, by half a step at most.
        assert channels.mean(2).abs().max() < rounding(torch.float32, 0.5)
        assert (channels.std(2, unbiased=False) - 1).abs().max() < rounding(torch.float32, 0.5)

    @coloured
    def test_the_spectrum_is_flat_and_still_random(self, noise):
        axes = tuple(range(2, noise.ndim))
        power = torch.fft.fftn(whiten(noise, 1).double(), dim=axes, norm="ortho").abs().square()
        down, across = (torch.fft.fftfreq(size) for size in noise.shape[-2:])
        radius = torch.hypot(down[:, None], across)
        for low, high in ((0.01, 0.1), (0.1, 0.2), (0.2, 0.35), (0.35, 0.5), (0.5, 0.71)):
            band = power[..., (radius > low) & (radius <= high)]
            # Up to 12 % is left in the corners of noise that was strongly coloured along one axis.
            assert float(band.mean()) == pytest.approx(1, abs=0.15)
        # White noise has exponential powers (variance 1); one common amplitude would have 0.
        assert 0.7 < float(power.var()) < 1.3

    @coloured
    def test_amount_0_returns_the_values_in_a_new_tensor(self, noise):
        same = whiten(noise, 0)
        assert torch.equal(same, noise)
        assert same.data_ptr() != noise.data_ptr()

    def test_amounts_between_change_mean_std_and_colour_geometrically(self):
        noise = COLOURS["columns, strong and off centre"]
        mean = noise.double().mean((2, 3))
        std = noise.double().std((2, 3), unbiased=False)
        correlations = []
        for amount in (0.0, 0.25, 0.5, 0.75, 1.0):
            partly = whiten(noise, amount).double()
            assert torch.allclose(partly.mean((2, 3)), mean * (1 - amount), atol=1e-6)
            assert torch.allclose(partly.std((2, 3), unbiased=False), std ** (1 - amount), rtol=1e-6)
            correlations.append(lag_one(partly, -2))
        assert correlations == sorted(correlations, reverse=True)
        assert relative_error(whiten(noise, 1e-9), noise).max() < 1e-6

    def test_the_amplitudes_in_between_are_geometric_means(self):
        noise = COLOURS["photo"].double()
        none, half, full = (torch.fft.fft2(whiten(noise, amount)).abs()[..., 1:, 1:] for amount in (0, 0.5, 1))
        ratio = half.square() / (none * full)  # one number per channel: only the overall scale is free
        # Transforms round beside their largest values; the least of these random amplitudes are 1e-4 of those.
        torch.testing.assert_close(ratio, ratio.mean((2, 3), keepdim=True).expand_as(ratio), rtol=EXACT / 1e-4, atol=0)

    def test_phases_stay(self):
        noise = COLOURS["photo"].double()
        turn = torch.fft.fft2(whiten(noise, 1)) * torch.fft.fft2(noise).conj()
        away = turn.imag[..., 1:, 1:].abs() / turn.abs()[..., 1:, 1:]
        assert float(away.max()) < 1e-6
        assert bool((turn.real[..., 1:, 1:] > 0).all())

    def test_white_noise_is_hardly_changed_and_the_innovations_of_coloured_noise_come_back(self):
        driving = white(2, 4, 64, 64)
        assert relative_error(whiten(driving, 1), driving).max() < 0.1
        assert relative_error(whiten(photo_like(2, 4, 64, 64), 1), driving).max() < 0.1

    def test_box_blur_lacks_frequencies_that_nothing_brings_back(self):
        noise = boxed(white(1, 4, 64, 64), 3)
        (before,), (after,) = whiteness(noise), whiteness(whiten(noise, 1))
        assert before.neighbour > 0.6
        assert abs(after.neighbour) < 0.1

    def test_missing_frequencies_stay_weak(self):
        spectrum = torch.fft.fft2(white(1, 4, 64, 64).double())
        spectrum[..., 20:45] = 0
        clean = torch.fft.fft2(whiten(torch.fft.ifft2(spectrum).real, 1))
        assert bool(clean.isfinite().all())
        assert float(clean[..., 24:41].abs().max()) < 1e-3 * float(clean.abs().mean())

    @pytest.mark.parametrize("shape", [(2, 4, 64, 64), (2, 4, 5, 32, 24)])
    def test_one_sample_does_not_depend_on_the_others_nor_a_channel_on_its_scale(self, shape):
        noise = photo_like(*shape)
        both = whiten(noise, 0.7)
        assert torch.equal(both[1:], whiten(noise[1:], 0.7))
        assert torch.allclose(whiten(noise * 7 - 3, 1), whiten(noise, 1), atol=1e-4)

    def test_shifted_mirrored_or_turned_noise_is_whitened_alike(self):
        noise = COLOURS["rows"]
        plain = whiten(noise, 1)
        for change in (lambda x: x.roll((5, 9), (-2, -1)), lambda x: x.flip(-1), lambda x: x.transpose(-2, -1)):
            assert torch.allclose(whiten(change(noise), 1), change(plain), atol=1e-5)

    # The smallest pictures, one row, one column, one frame: nothing to be learnt about colour, nothing breaks.
    @pytest.mark.parametrize(
        "shape", [(1, 4, 1, 8), (1, 4, 8, 1), (1, 2, 2, 2), (1, 4, 1, 16, 16), (1, 4, 3, 1, 2), (1, 4, 7, 13)]
    )
    def test_small_latents(self, shape):
        channels = whiten(white(*shape), 1).double().flatten(2)
        assert channels.mean(2).abs().max() < 1e-6
        assert torch.allclose(channels.std(2, unbiased=False), torch.ones(()).double(), atol=1e-5)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
    def test_precision_and_inputs_are_kept(self, dtype):
        noise = photo_like(2, 4, 16, 16).to(dtype)
        before = noise.clone()
        clean = whiten(noise, 1)
        assert (clean.dtype, clean.shape) == (dtype, noise.shape)
        assert torch.equal(noise, before)
        exact = whiten(noise.double(), 1)
        # A transform of memory that lies otherwise sums in another order, in float64; the result is then rounded once.
        close = (rounding(dtype, 1) + EXACT) * float(exact.abs().max())
        for result in (clean, whiten(noise.to(memory_format=torch.channels_last), 1)):
            torch.testing.assert_close(result.double(), exact, rtol=0, atol=close)


class TestRefusals:
    @pytest.mark.parametrize("measure", SCORES)
    @pytest.mark.parametrize(
        ("a", "b", "sentence"),
        [
            (
                torch.zeros(1, 16, 16, 3),
                torch.zeros(2, 16, 16, 3),
                r"shapes must be equal, got a \(1, 16, .* b \(2, 16",
            ),
            (torch.zeros(16, 16, 3), torch.zeros(16, 16, 3), r"batches of images .*got the sizes \(16, 16, 3\); add"),
            (torch.zeros(0, 16, 16, 3), torch.zeros(0, 16, 16, 3), r"got the sizes \(0, 16, 16, 3\); .*have pixels"),
            (torch.zeros(1, 0, 16, 3), torch.zeros(1, 0, 16, 3), r"got the sizes \(1, 0, 16, 3\); .*have pixels"),
            (
                torch.zeros(1, 16, 16, 3),
                torch.zeros(1, 16, 16, 3, dtype=torch.uint8),
                "b must hold floats, got uint8; divide 8-bit images by 255",
            ),
            (torch.full((1, 16, 16, 3), math.nan), torch.zeros(1, 16, 16, 3), "a holds 768 NaN or infinite values"),
            (torch.zeros(1, 16, 16, 3), torch.full((1, 16, 16, 3), math.inf), "b holds 768 NaN or infinite values"),
        ],
    )
    def test_pictures(self, measure, a, b, sentence):
        with pytest.raises(ValueError, match=f"^{measure.__name__}: .*{sentence}"):
            measure(a, b)

    @pytest.mark.parametrize("size", [(10, 40), (40, 10), (1, 1)])
    def test_pictures_smaller_than_the_window(self, size):
        a = torch.zeros(1, *size, 3)
        with pytest.raises(ValueError, match=f"ssim: .*at least 11 pixels .*got {size[0]}x{size[1]}; compare larger"):
            ssim(a, a)
        assert mse(a, a).item() == 0

    def test_relative_error(self):
        with pytest.raises(ValueError, match=r"relative_error: shapes must be equal, got x \(2,\) and reference"):
            relative_error(torch.zeros(2), torch.zeros(3))
        with pytest.raises(ValueError, match="relative_error: x and reference need a batch dimension, got single"):
            relative_error(torch.tensor(1.0), torch.tensor(1.0))
        with pytest.raises(ValueError, match="relative_error: x holds 1 NaN"):
            relative_error(torch.tensor([math.nan]), torch.zeros(1))
        with pytest.raises(ValueError, match="relative_error: reference holds 1 NaN"):
            relative_error(torch.zeros(1), torch.tensor([math.inf]))

    @pytest.mark.parametrize("function", [whiteness, lambda noise: whiten(noise, 1)], ids=["whiteness", "whiten"])
    @pytest.mark.parametrize(
        ("noise", "sentence"),
        [
            (torch.zeros(4, 8, 8), r"noise must be a latent .*got the sizes \(4, 8, 8\); give the samples"),
            (torch.zeros(1, 1, 1, 4, 8, 8), r"noise must be a latent .*\(1, 1, 1, 4, 8, 8\)"),
            (torch.zeros(1, 0, 8, 8), r"noise must be a latent .*\(1, 0, 8, 8\)"),
            (torch.zeros(1, 4, 8, 8, dtype=torch.int64), "noise must hold floats, got int64; convert it to float32"),
            (torch.full((1, 4, 8, 8), math.nan), "noise holds 256 NaN or infinite values"),
        ],
    )
    def test_noise(self, function, noise, sentence):
        with pytest.raises(ValueError, match=f"^white.*: {sentence}"):
            function(noise)

    @pytest.mark.parametrize("amount", [-0.01, 1.01, math.nan, math.inf])
    def test_amounts(self, amount):
        with pytest.raises(ValueError, match=f"whiten: amount must be between 0 and 1, got {amount}"):
            whiten(white(1, 4, 8, 8), amount)

    @pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
    def test_a_constant_channel(self, value):
        noise = white(2, 4, 8, 8)
        noise[1, 2] = value
        with pytest.raises(ValueError, match="whiten: channel 2 of sample 1 has the same value everywhere, .* draw"):
            whiten(noise, 0.5)
        assert torch.equal(whiten(noise, 0), noise)

    @pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
    def test_a_sample_of_constant_channels(self, value):
        noise = white(2, 4, 8, 8)
        noise[1] = value * torch.arange(4.0).reshape(4, 1, 1)
        with pytest.raises(ValueError, match="whiteness: every channel of sample 1 has the same value everywhere, so"):
            whiteness(noise)
