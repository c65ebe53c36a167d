"""The receipt of an inversion as text, as data for the page, and as curves of the error over the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..drawing.table import aligned
from ..scores.quality import PictureQuality, mse, psnr, ssim
from .record import Inversion, Receipt

STD_TOLERANCE, NEIGHBOUR_TOLERANCE = 0.1, 0.1  # distances from 1 and 0 up to which an inverted noise passes for white


def compared(images: Tensor, references: Tensor) -> list[PictureQuality]:
    """Quality of each image compared with its reference, both [B, H, W, C] in 0..1."""
    scores = (mse(images, references), psnr(images, references), ssim(images, references))
    return [PictureQuality(*map(float, row)) for row in zip(*scores, strict=True)]


def receipt_text(inversion: Inversion) -> str:
    """Text that a user reads: how exact the inversion is, compared with what, and what it cost."""
    receipt = _receipt(inversion)
    head = (
        f"{inversion.method}, {inversion.steps} steps, cfg {inversion.cfg:g}, "
        f"{inversion.images} picture{'s' if inversion.images > 1 else ''}, replayed once to measure:"
    )
    rows = [
        ("", [f"picture {place + 1}" for place in range(inversion.images)]),
        ("latent error (relative)", [f"{p.latent_error:.2e}" for p in receipt.pictures]),
    ]
    for label, name in (
        ("against the input", "against_input"),
        ("VAE alone (ceiling)", "ceiling"),
        ("against the VAE's own", "against_vae"),
    ):
        qualities = [getattr(p, name) for p in receipt.pictures]
        if all(quality is not None for quality in qualities):
            rows += [
                (f"{label}: PSNR dB", [_db(q.psnr) for q in qualities]),
                (f"{label}: MSE", [f"{q.mse:.2e}" for q in qualities]),
                (f"{label}: SSIM", [f"{q.ssim:.4f}" for q in qualities]),
            ]
    for name in ("mean", "std", "kurtosis", "neighbour"):
        rows.append((f"noise {name}", [f"{p.noise[name]:.3f}" for p in receipt.pictures]))
    lines = [head, *aligned(rows), _cost(receipt)]
    return "\n".join([*lines, *receipt.notes, *_remarks(receipt)])


def receipt_data(inversion: Inversion) -> dict[str, object]:
    """Receipt as plain JSON data; a PSNR of equal images is None, because JSON has no infinity."""
    receipt = _receipt(inversion)

    def quality(measured: PictureQuality | None) -> dict[str, float | None] | None:
        if measured is None:
            return None
        return {"psnr": measured.psnr if math.isfinite(measured.psnr) else None, "ssim": measured.ssim}

    pictures = [
        {
            "latent_error": p.latent_error,
            "against_input": quality(p.against_input),
            "ceiling": quality(p.ceiling),
            "against_vae": quality(p.against_vae),
        }
        for p in receipt.pictures
    ]
    return {
        "method": inversion.method,
        "steps": inversion.steps,
        "cfg": inversion.cfg,
        "pictures": pictures,
        "remarks": [*receipt.notes, *_remarks(receipt)],
    }


def _receipt(inversion: Inversion) -> Receipt:
    """Returns the receipt of an inversion.

    raises: ValueError if it has none
    """
    if inversion.receipt is None:
        raise ValueError("this inversion has no receipt: it was not replayed to measure it; invert the picture again")
    return inversion.receipt


def _cost(receipt: Receipt) -> str:
    peak = receipt.peak_memory
    memory = "" if peak is None else f", peak memory {peak / 2**20:.0f} MB above the start"
    return (
        f"Model calls per picture: {receipt.calls:g} to invert, {receipt.replay_calls:g} to replay; "
        f"{receipt.seconds:.1f} s{memory}"
    )


def _remarks(receipt: Receipt) -> list[str]:
    """Sentences that say what the numbers mean for the use of the inversion."""
    remarks = []
    spreads = [p.noise["std"] for p in receipt.pictures if abs(p.noise["std"] - 1) > STD_TOLERANCE]
    if any(abs(p.noise["neighbour"]) > NEIGHBOUR_TOLERANCE for p in receipt.pictures):
        remarks.append(
            "The inverted noise is not white (neighbours are alike): it carries the picture's shapes, which "
            "hurts walks; Inversion Parts can whiten it."
        )
    if spreads:
        remarks.append(
            f"The inverted noise has a spread of {max(spreads, key=lambda s: abs(s - 1)):.2f} where the "
            "model expects 1: the farther from 1, the sooner edits and walks from it fall apart."
        )
    if any(p.latent_error > 0.05 for p in receipt.pictures):
        remarks.append(
            "More than 5 % of the latent is lost: the replay will differ visibly; use exact, more steps, a "
            "lower cfg, or for null text more inner_steps."
        )
    return remarks


def _db(value: float) -> str:
    return "identical" if math.isinf(value) else f"{value:.2f}"


def error_curves(inversion: Inversion) -> dict[str, Sequence[float]]:
    """Name of each image -> relative error at every sigma, from the noisiest to the image."""
    errors = _receipt(inversion).step_errors
    return {f"picture {b + 1}": [row[b] for row in errors] for b in range(inversion.images)}
