"""Smoothness of a walk: ISTD and the numbers that must be read next to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..wording import size_text

# Smallest root-mean-square change that counts as a jump: half a level of an 8-bit image; nobody sees less.
VISIBLE_RMS = 0.5 / 255
# Iglewicz and Hoaglin (1993) call a value an outlier when 0.6745 * |value - median| / MAD exceeds 3.5.
OUTLIER_MADS = 3.5 / 0.6745
# Values that are scored at once, 32 MB as float32: threads that other programs share meet seldom enough, and
# the memory is taken from the heap again and again instead of being mapped anew.
BLOCK_VALUES = 2**23


@dataclass(frozen=True)
class Smoothness:
    """The scores of one walk; every length is an L2 norm of image differences on the [0, 1] scale.

    distances:     step lengths, distances[i] between frame i and frame i + 1
    size:          (height, width, channels) that were scored
    istd:          population standard deviation of the distances (ddof 0)
    istd_pm1:      the same for images on the [-1, 1] scale, 2 * istd: the one to compare with the paper
    istd_rms:      istd / sqrt(height * width * channels): independent of the image size
    mean_distance: mean step length
    path:          sum of the step lengths
    cv:            istd / mean_distance, free of scale and contrast: the primary score; 0 is an even walk
    max_over_mean: largest step in mean steps; 1 is an even walk
    smoothness:    1 - Gini coefficient of the distances, 1 is an even walk (AID, arXiv 2403.17924,
                   takes it of perceptual distances, this of pixel distances)
    largest:       index of the largest step, the first of equals
    jumps:         indices of the steps that stand out, see `jump_steps`
    still:         every frame is the same image: nothing was walked. cv 0, max_over_mean 1 and smoothness 1
                   are then set by definition (equal steps), and say nothing about the model
    """

    distances: tuple[float, ...]
    size: tuple[int, ...]
    istd: float
    istd_pm1: float
    istd_rms: float
    mean_distance: float
    path: float
    cv: float
    max_over_mean: float
    smoothness: float
    largest: int
    jumps: tuple[int, ...]
    still: bool

    @property
    def frames(self) -> int:
        """Number of frames scored."""
        return len(self.distances) + 1


def score(images: Tensor, name: str = "images") -> Smoothness:
    """Interpolation standard deviation (ISTD) of a walk's frames, with the numbers to read next to it.

    images:  [N, H, W, C] floats, N >= 3, C 1, 3 or 4; clamped to [0, 1], not rounded to 8 bits. A fourth
             channel (alpha) is left out, so that a walk scores the same with and without one
    name:    of the images, for an error
    returns: Smoothness
    raises:  ValueError for another rank, type or number of channels, for fewer than 3 frames (one step has no
             spread, whatever it shows), and for NaN or Inf
    source:  Smooth Diffusion, arXiv 2312.04410; there the standard deviation of the pixel distances between
             neighbours among 11 images at the even mixes 0, 0.1 .. 1 of two noises, averaged over
             500 prompts. No official code exists. Left open there, and decided here: distance = L2 norm
             over all values of an image (not their mean square); images on [0, 1] (`istd_pm1` is the
             [-1, 1] reading, which the paper's magnitudes make a little more likely); population deviation
             (ddof 1 would be 1.054 times as much for 10 steps); no 8-bit rounding. Which noises are mixed,
             and how, is up to the walk

    Read mean_distance next to ISTD: a model that draws with less contrast or less variety has shorter steps,
    thus a lower ISTD, without being any smoother. cv divides that out.
    """
    _require_scorable(images, name)
    height, width = images.shape[1:3]
    channels = min(images.shape[3], 3)
    return from_distances(step_lengths(images[..., :channels], name), (height, width, channels))


def step_lengths(images: Tensor, name: str = "images") -> list[float]:
    """L2 norms of the differences between neighbouring frames, a few frames at a time in constant extra memory.

    images:  [N, H, W, C] floats; clamped to [0, 1]
    returns: N - 1 lengths; rows are summed in float32, their sums in float64, which is good to 1e-8 relative
    raises:  ValueError if a frame holds NaN or Inf
    """
    images = images.detach()
    together = max(1, BLOCK_VALUES // images[0].numel())
    outside = _reaches_outside(images, together, name)
    lengths = []
    for start in range(0, images.shape[0] - 1, together):
        block = images[start : start + together + 1].float()
        if outside:
            block = block.clamp(0, 1)
        rows = torch.linalg.vector_norm((block[1:] - block[:-1]).flatten(2), dim=2)  # [steps, H]
        lengths += [math.hypot(*row) for row in rows.tolist()]
    return lengths


def from_distances(distances: Sequence[float], size: Sequence[int]) -> Smoothness:
    """Computes every score of a walk from its step lengths alone, so that stored lengths score as the images did.

    distances: at least 2 step lengths on the [0, 1] scale
    size:      (height, width, channels) of the images they came from, or the shape of one latent
    raises:    ValueError for fewer than 2 lengths, or one that is negative, NaN or Inf, and for an empty size
    """
    d = np.asarray(distances, dtype=np.float64)
    if d.ndim != 1 or d.size < 2 or not np.isfinite(d).all() or (d < 0).any():
        raise ValueError(f"expected at least 2 finite step lengths >= 0, got {list(distances)}")
    if not size or not all(isinstance(n, int) and n > 0 for n in size):
        raise ValueError(f"expected a size of height, width and channels above 0, got {list(size)}")
    values = math.prod(size)
    mean, istd, largest = float(d.mean()), float(d.std()), int(d.argmax())
    still = mean == 0.0
    return Smoothness(
        distances=tuple(d.tolist()),
        size=tuple(size),
        istd=istd,
        istd_pm1=2 * istd,
        istd_rms=istd / math.sqrt(values),
        mean_distance=mean,
        path=float(d.sum()),
        cv=0.0 if still else istd / mean,
        max_over_mean=1.0 if still else float(d[largest]) / mean,
        smoothness=1.0 - _gini(d),
        largest=largest,
        jumps=jump_steps(d, values),
        still=still,
    )


def require_comparable(images: Smoothness, compare_with: Smoothness) -> None:
    """Refuses two walks whose step lengths cannot be compared.

    raises: ValueError if they differ in the number of frames or the size of a frame
    """
    if images.frames != compare_with.frames:
        raise ValueError(
            f"images has {images.frames} frames and compare_with has {compare_with.frames}: "
            "only walks of equal length have comparable steps; render both with one schedule"
        )
    if images.size != compare_with.size:
        sizes = " and compare_with has ".join(size_text(s.size) for s in (images, compare_with))
        raise ValueError(
            f"images has frames of {sizes} (height x width x channels): step lengths grow "
            "with the size; bring both to the same size"
        )


def jump_steps(distances: Sequence[float] | np.ndarray, values: int) -> tuple[int, ...]:
    """Indices of the steps at which the image jumps instead of moving on.

    A step is a jump when its excess over the median step is (a) larger than the median itself, so that it
    is more than twice the usual pace, and (b) an outlier by Iglewicz and Hoaglin's rule, 0.6745 * excess /
    MAD > 3.5, so that a walk whose pace varies throughout is not all jumps, and when (c) it is visible: its
    root-mean-square change is above half an 8-bit level. Median and MAD (median absolute deviation) do not
    follow the jumps.

    distances: step lengths on the [0, 1] scale
    values:    height * width * channels of an image
    """
    d = np.asarray(distances, dtype=np.float64)
    median = np.median(d)
    mad = np.median(np.abs(d - median))
    excess = d - median
    standing_out = (excess > median) & (excess > OUTLIER_MADS * mad) & (d > VISIBLE_RMS * math.sqrt(values))
    return tuple(np.flatnonzero(standing_out).tolist())


def _require_scorable(images: Tensor, name: str) -> None:
    if images.ndim != 4:
        raise ValueError(
            f"{name} must be a batch of frames [frames, height, width, channels], got the "
            f"sizes {tuple(images.shape)}; put the frames of one walk into one batch"
        )
    frames, height, width, channels = images.shape
    if not images.is_floating_point():
        dtype = str(images.dtype).removeprefix("torch.")
        raise ValueError(f"{name} must hold floats from 0 to 1, got {dtype}; divide 8-bit images by 255")
    if frames < 3:
        raise ValueError(
            f"{name} needs at least 3 frames to be scored, got {frames}: the spread of step "
            "lengths takes two steps or more; render more frames of the walk"
        )
    if channels not in (1, 3, 4) or height * width == 0:
        raise ValueError(
            f"{name} must have 1, 3 or 4 channels and at least one pixel, got frames of "
            f"{height}x{width} with {channels} channels; convert them to RGB"
        )


def _reaches_outside(images: Tensor, together: int, name: str) -> bool:
    """True where any value lies outside [0, 1]; refuses NaN and Inf, which a clamp would hide."""
    outside = False
    for start in range(0, images.shape[0], together):
        low, high = _extremes(images[start : start + together])
        if not (math.isfinite(low) and math.isfinite(high)):
            bad = next(i for i, frame in enumerate(images) if not all(map(math.isfinite, _extremes(frame))))
            raise ValueError(
                f"{name}: frame {bad} holds NaN or Inf and cannot be scored; look at how it was "
                "made (such frames often come from a VAE in half precision)"
            )
        outside = outside or low < 0 or high > 1
    return outside


def _extremes(x: Tensor) -> tuple[float, float]:
    """Returns the smallest and the largest value; a NaN makes both NaN."""
    low, high = torch.aminmax(x)
    return float(low), float(high)


def _gini(d: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Gini coefficient, mean absolute difference of all pairs over twice the mean; 0 when all are equal."""
    total = d.sum()
    if total == 0:
        return 0.0
    rank = np.arange(1, d.size + 1)
    return float(((2 * rank - d.size - 1) * np.sort(d)).sum() / (d.size * total))
