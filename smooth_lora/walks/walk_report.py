"""The text that says how a walk was rendered."""

from __future__ import annotations

from typing import Literal

from .walk import Walk

# walked: with the frames, as far as the sampler draws any; unknown: the sampler may draw it for a whole batch
StepNoiseUse = Literal["walked", "unknown", "none"]
_STEP_NOISE_LINES: dict[StepNoiseUse, list[str]] = {
    "walked": ["Step noise: walked with the frames, if the sampler draws any"],
    "unknown": ["Step noise: this sampler is not one of the host's; if it draws noise of its own, frames may blink."],
    "none": [],
}


def walk_report(
    walk: Walk,
    *,
    batch: int,
    smallest_batch: int,
    noise: str | None,
    still: bool,
    step_noise: StepNoiseUse,
    keyframes_added: bool,
    decoded_last: bool,
) -> str:
    """Describes the frames of a walk, what walked in it, and how it was batched.

    batch, smallest_batch: frames per batch at the start, and after memory ran out
    noise:           what the noise walks through; None for one noise in every frame
    still:           nothing but the noise can move a frame
    keyframes_added: batches held the keyframes around their frames as well
    decoded_last:    frames were decoded after all of them had been sampled
    returns:         lines of text
    """
    lines = [
        f"{len(walk)} frames (numbers {walk.numbers[0]} to {walk.numbers[-1]} of {walk.total}), "
        f"{batch} per batch, {'closed loop' if walk.loop else 'open walk'}",
        *_noise_lines(noise, still=still),
        *_STEP_NOISE_LINES[step_noise],
    ]
    if smallest_batch < batch:
        lines.append(
            f"Memory ran out, so batches became smaller, down to {smallest_batch} per batch; set "
            "frames_per_batch to that next time."
        )
    if keyframes_added:
        lines.append("Attention Walk: the keyframes around each batch are rendered beside it and not given out.")
    if decoded_last:
        lines.append("Model and VAE do not fit on the device together: all frames were sampled first, then decoded.")
    return "\n".join(lines)


def _noise_lines(noise: str | None, *, still: bool) -> list[str]:
    if noise is not None:
        return [f"Noise: {noise}"]
    lines = [
        "Noise: the same in every frame, because a plain NOISE holds one; wire a Seed Walk or Noise Walk to walk it."
    ]
    if still:
        lines.append("Nothing changes between the frames: neither noise, text nor latents walk.")
    return lines


def video_report(
    name: str, *, frames: int, frames_per_second: float, steps: str, resumed_frames: int, resumable: bool
) -> str:
    """Describes a video of a walk.

    name:           of the file
    steps:          how evenly its frames differ, in words
    resumed_frames: frames that a run had rendered that was stopped
    resumable:      whether a stopped run would have gone on
    returns:        lines of text
    """
    resumed = f", {resumed_frames} of them from a run that was stopped" if resumed_frames else ""
    lines = [f"{frames} frames at {frames_per_second:g} per second in {name}{resumed}", steps]
    if not resumable:
        lines.append(
            "This graph holds objects that nothing tells from others after a restart: stopped, it would have "
            "begun anew."
        )
    return "\n".join(lines)
