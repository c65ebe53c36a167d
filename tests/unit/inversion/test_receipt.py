"""The receipt as a user reads it, and the chart of its errors."""

from __future__ import annotations

import json
import math

import pytest
import torch
from tolerance import EXACT

from smooth_lora.drawing.plot import BLUE, GREEN, PURPLE, VERMILION
from smooth_lora.inversion.receipt import compared, error_curves, receipt_data, receipt_text
from smooth_lora.inversion.record import Inversion, PictureReceipt, Receipt
from smooth_lora.sampling.scale import Scale
from smooth_lora.scores.chart import error_chart
from smooth_lora.scores.quality import PictureQuality

WHITE = {"mean": 0.001, "std": 1.0, "kurtosis": -0.02, "neighbour": 0.01}
NOT_WHITE, LOST = "The inverted noise is not white", "More than 5 % of the latent is lost"
SAME = PictureQuality(0.0, math.inf, 1.0)
CLOSE = PictureQuality(0.001, 30.0, 0.91234)


def picture(**changes: object) -> PictureReceipt:
    return PictureReceipt(**{"latent_error": 1.5e-9, "noise": WHITE, **changes})


def inversion(*pictures: PictureReceipt, **changes: object) -> Inversion:
    """Hand-made, of two steps."""
    count = len(pictures)
    errors = tuple(tuple(0.1**k + b for b in range(count)) for k in range(3))
    receipt = Receipt(pictures, errors, **{"calls": 100, "replay_calls": 98, "seconds": 12.34, **changes})
    return Inversion(
        "exact",
        7.5,
        torch.tensor([2.0, 1.0, 0.0]),
        torch.zeros(3, count, 1, 1, 1),
        torch.zeros(count, 1, 1, 1),
        Scale(),
        "model",
        [],
        [],
        receipt=receipt,
    )


def row_of(text: str, label: str) -> list[str]:
    """The cells of the one row that begins with a label."""
    (line,) = (line for line in text.splitlines() if line.startswith(label))
    return line.removeprefix(label).split()


def test_one_picture_in_full() -> None:
    text = receipt_text(
        inversion(
            picture(against_input=CLOSE, ceiling=PictureQuality(2e-4, 37.0, 0.95), against_vae=SAME),
            peak_memory=3 * 2**20,
        )
    )
    cells = {
        "": "picture 1",
        "latent error (relative)": "1.50e-09",
        "against the input: PSNR dB": "30.00",
        "against the input: MSE": "1.00e-03",
        "against the input: SSIM": "0.9123",
        "VAE alone (ceiling): PSNR dB": "37.00",
        "VAE alone (ceiling): MSE": "2.00e-04",
        "VAE alone (ceiling): SSIM": "0.9500",
        "against the VAE's own: PSNR dB": "identical",
        "against the VAE's own: MSE": "0.00e+00",
        "against the VAE's own: SSIM": "1.0000",
        "noise mean": "0.001",
        "noise std": "1.000",
        "noise kurtosis": "-0.020",
        "noise neighbour": "0.010",
    }
    assert text.splitlines() == [
        "exact, 2 steps, cfg 7.5, 1 picture, replayed once to measure:",
        *(f"{label:30}  {cell:>9}" for label, cell in cells.items()),
        "Model calls per picture: 100 to invert, 98 to replay; 12.3 s, peak memory 3 MB above the start",
    ]


def test_several_pictures_stand_side_by_side() -> None:
    text = receipt_text(
        inversion(
            picture(against_input=SAME), picture(latent_error=0.01, against_input=CLOSE), picture(against_input=CLOSE)
        )
    )
    assert "cfg 7.5, 3 pictures, replayed" in text
    assert row_of(text, "latent error (relative)") == ["1.50e-09", "1.00e-02", "1.50e-09"]
    assert row_of(text, "against the input: PSNR dB") == ["identical", "30.00", "30.00"]
    lines = text.splitlines()[1:-1]
    assert len({len(line) for line in lines}) == 1  # every column ends at one place
    assert lines[0].split() == ["picture", "1", "picture", "2", "picture", "3"]


def test_what_was_not_measured_is_not_shown() -> None:
    """Without a picture or a VAE, or if one of several pictures has none, and where no memory is known."""
    for pictures in ((picture(),), (picture(against_vae=SAME), picture())):
        text = receipt_text(inversion(*pictures))
        assert not any(word in text for word in ("PSNR", "MSE", "SSIM", "VAE", "identical", "memory"))
        assert row_of(text, "noise std") == ["1.000"] * len(pictures)


def test_identical_pictures() -> None:
    pictures = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    # SSIM divides by variances, here a twelfth of the squares of which they are the difference.
    assert [vars(found) for found in compared(pictures, pictures)] == [pytest.approx(vars(SAME), rel=12 * EXACT)] * 2
    assert "identical" in receipt_text(inversion(picture(against_vae=SAME)))


def test_comparing_by_hand() -> None:
    """A constant offset of .1: mean square .01, 20 dB; each picture against its own reference."""
    flat = torch.full((2, 16, 16, 3), 0.5, dtype=torch.float64)
    first, second = compared(flat, flat + torch.tensor([0.1, 0.0]).reshape(2, 1, 1, 1))
    assert first.mse == pytest.approx(0.01, rel=1e-6) and first.psnr == pytest.approx(20, rel=1e-6)
    # SSIM of constants a, b is (2ab + C) / (a^2 + b^2 + C) with C = .01^2: the variances are 0.
    assert first.ssim == pytest.approx((2 * 0.5 * 0.6 + 1e-4) / (0.25 + 0.36 + 1e-4), rel=1e-5)
    assert vars(second) == pytest.approx(vars(SAME), rel=EXACT / 9e-4)  # beside that of the variances, .03^2


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ({}, False),
        ({"std": 1.09, "neighbour": 0.09}, False),
        ({"std": 0.91, "neighbour": -0.09}, False),
        ({"std": 1.11}, True),
        ({"std": 0.89}, True),
        ({"neighbour": 0.11}, True),
        ({"neighbour": -0.11}, True),
        ({"mean": 0.5, "kurtosis": 2.0}, False),
    ],
)
def test_when_the_noise_is_called_coloured(noise: dict, said: bool) -> None:
    text = receipt_text(inversion(picture(), picture(noise={**WHITE, **noise})))
    spread = abs(noise.get("std", 1.0) - 1) > 0.1
    assert text.count(NOT_WHITE) == (said and not spread)
    assert text.count(f"has a spread of {noise.get('std', 1.0):.2f}") == spread


@pytest.mark.parametrize(("error", "said"), [(0.0, False), (0.05, False), (0.051, True), (3.0, True)])
def test_when_a_loss_is_called_one(error: float, said: bool) -> None:
    text = receipt_text(inversion(picture(), picture(latent_error=error)))
    assert text.count(LOST) == said


def test_notes_come_before_remarks_and_only_if_there_are_any() -> None:
    worst = picture(latent_error=1.0, noise={**WHITE, "neighbour": 0.5})
    lines = receipt_text(inversion(worst, worst, notes=("Picture 2: fell back.", "A second note."))).splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("Model calls"))
    assert lines[place + 1 : place + 3] == ["Picture 2: fell back.", "A second note."]
    assert [line[:20] for line in lines[place + 3 :]] == [NOT_WHITE[:20], LOST[:20]]
    assert receipt_text(inversion(picture())).splitlines()[-1].startswith("Model calls")


def test_calls_of_a_part_of_a_row() -> None:
    """Shared passes make fractions."""
    assert "62.5 to invert, 100 to replay; 0.1 s" in receipt_text(
        inversion(picture(), calls=62.5, replay_calls=100.0, seconds=0.149)
    )


def test_a_curve_per_picture() -> None:
    curves = error_curves(inversion(picture(), picture()))
    assert list(curves) == ["picture 1", "picture 2"]
    assert curves["picture 1"] == pytest.approx([1, 0.1, 0.01])
    assert curves["picture 2"] == pytest.approx([2, 1.1, 1.01])


def drawn(chart: torch.Tensor, colour: tuple[int, int, int]) -> torch.Tensor:
    """[n, 2] rows and columns where the chart has exactly this colour, in units of the canvas."""
    wanted = torch.tensor(colour) / 255
    return ((chart[0] - wanted).abs().amax(-1) < 0.5 / 255).nonzero() / 2


def test_the_chart_is_a_picture_for_the_host_and_shows_the_difference() -> None:
    first = error_chart({"picture 1": [0.0, 1e-3, 2e-2]}, "exact, 2 steps")
    assert first.shape == (1, 2 * 320, 1024, 3) and first.dtype == torch.float32
    assert 0 <= float(first.min()) < float(first.max()) == 1
    assert torch.equal(first, error_chart({"picture 1": [0.0, 1e-3, 2e-2]}, "exact, 2 steps"))
    for other in ({"picture 1": [0.0, 2e-3, 2e-2]}, {"picture 1": [0.0, 1e-3, 2e-5]}, {"other": [0.0, 1e-3, 2e-2]}):
        assert not torch.equal(first, error_chart(other, "exact, 2 steps"))
    assert not torch.equal(first, error_chart({"picture 1": [0.0, 1e-3, 2e-2]}, "ddim, 2 steps"))


def test_a_power_of_ten_lies_where_it_should() -> None:
    """From 1e-4 to 1e-2, so 1e-3 lies half way between the axes' bottom and top, along their whole width."""
    chart = error_chart({"a": [1e-4, 1e-3, 1e-2], "b": [1e-3, 1e-3, 1e-3]}, "title")
    height = 280 + 20 * 3
    top, bottom = 20 * 3 + 44, height - 26
    level = drawn(chart, VERMILION)
    level = level[level[:, 0] > top]
    assert level[:, 0].mean() == pytest.approx((top + bottom) / 2, abs=1.0)
    assert (float(level[:, 1].min()), float(level[:, 1].max())) == pytest.approx((58, 500), abs=2)
    rising = drawn(chart, BLUE)
    rising = rising[rising[:, 0] > top - 2]
    left, right = rising[rising[:, 1] < 62], rising[rising[:, 1] > 496]
    assert left[:, 0].mean() == pytest.approx(bottom, abs=4) and right[:, 0].mean() == pytest.approx(top, abs=4)


@pytest.mark.parametrize(
    "errors",
    [
        [0.0] * 51,
        [0.0, 0.0],
        [0.5],
        [0.0],
        [1e-3, 1e-3],
        [0.0, 1e-17, 1e-16],
        [1.0, 10.0, 1000.0],
        [0.3] * 1001,
        [0.0, 5e-324],
        [1e-300, 1e300],
    ],
)
def test_extreme_curves_draw(errors: list[float]) -> None:
    chart = error_chart({"picture 1": errors}, "title")
    assert chart.shape == (1, 640, 1024, 3)
    assert chart.isfinite().all()
    assert len(drawn(chart, BLUE)) > 200


def test_four_curves_are_drawn_at_most() -> None:
    curves = {f"picture {b}": [0.1, 0.01 * b] for b in range(1, 7)}
    chart = error_chart(curves, "title")
    assert torch.equal(chart, error_chart(dict(list(curves.items())[:4]), "title"))
    assert all(len(drawn(chart, colour)) > 300 for colour in (BLUE, VERMILION, GREEN, PURPLE))


def test_the_same_as_data_that_json_can_carry() -> None:
    data = receipt_data(inversion(picture(against_input=CLOSE, ceiling=SAME), picture(latent_error=0.2)))
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert (data["method"], data["steps"], data["cfg"]) == ("exact", data["steps"], 7.5)
    first, second = data["pictures"]
    assert first == {
        "latent_error": 1.5e-9,
        "against_input": {"psnr": 30.0, "ssim": 0.91234},
        "ceiling": {"psnr": None, "ssim": 1.0},
        "against_vae": None,
    }
    assert second["latent_error"] == 0.2 and second["ceiling"] is None
    assert [LOST in remark for remark in data["remarks"]] == [True]
