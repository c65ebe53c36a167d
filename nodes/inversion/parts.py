"""The noise and the conditionings of one image of an inversion."""

from __future__ import annotations

from ...smooth_lora.drawing.table import aligned
from ...smooth_lora.inversion.record import Inversion
from ...smooth_lora.inversion.whiteness import Whiteness, whiten, whiteness
from ...smooth_lora.scores.quality import relative_error
from ..host.protocols import Conditioning
from ..model.texts import rows_of_conditioning
from .inverted_noise import InvertedNoise
from .replay_conditioning import replay_conditioning


def parts(inversion: Inversion, picture: int, amount: float) -> tuple[InvertedNoise, Conditioning, Conditioning, str]:
    """Returns noise, positive and negative CONDITIONING of one image, and a report on what whitening changed.

    picture: from 1
    amount:  0..1, see `whiten`
    raises:  ValueError for an image that is not there
    """
    if not 1 <= picture <= inversion.images:
        raise ValueError(
            f"Inversion Parts: picture is {picture}, but this inversion holds {inversion.images}; "
            f"give 1 to {inversion.images}"
        )
    row = picture - 1
    noise = inversion.noise[row:picture]
    whitened = whiten(noise, amount)
    positive, negative = (
        rows_of_conditioning(text, row, picture, inversion.images) for text in replay_conditioning(inversion)
    )
    report = _report(whiteness(noise)[0], whiteness(whitened)[0], float(relative_error(whitened, noise)[0]), amount)
    return InvertedNoise(whitened), positive, negative, report


def _report(before: Whiteness, after: Whiteness, moved: float, amount: float) -> str:
    rows = [("", ["inverted", f"whitened by {amount:g}", "white noise"])]
    for name, ideal in (("mean", 0.0), ("std", 1.0), ("kurtosis", 0.0), ("neighbour", 0.0)):
        rows.append((name, [f"{getattr(w, name):.3f}" for w in (before, after)] + [f"{ideal:.3f}"]))
    lines = aligned(rows)
    if amount > 0:
        lines.append(
            f"The noise moved by {100 * moved:.1f} % of its length: the picture itself does not come back from it."
        )
    return "\n".join(lines)
