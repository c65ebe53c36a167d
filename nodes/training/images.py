"""The images and prompts of a training, from the lists that the host's dataset nodes give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import comfy.sample
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.checks import require_finite
from ...smooth_lora.files.content_key import content_key
from ..host.names import TRAINER
from ..host.protocols import Conditioning, Latent
from ..host.wires import plain_samples


@dataclass(frozen=True)
class TrainingSet:
    """One latent and one conditioning for each image.

    latents: [C, ...] each, float32, VAE units, on the CPU
    texts:   CONDITIONING of a single entry each; empty: that of the empty prompt, None if there is none
    """

    latents: tuple[Tensor, ...]
    texts: tuple[Conditioning, ...]
    empty: Conditioning | None

    def key(self, who: str = TRAINER) -> str:
        """Digest of all latents and conditionings.

        who:    the node, for the error
        raises: ValueError if a conditioning holds something without a content of its own, such as a ControlNet
        """
        try:
            return content_key(latents=list(self.latents), texts=list(self.texts), empty=self.empty)
        except TypeError as error:
            raise ValueError(
                f"{who}: a text carries something that a training cannot hold on to ({error}); wire the "
                "texts as the text encoder gives them"
            ) from error


def training_set(
    model: ModelPatcher,
    latents: Sequence[Latent],
    conditioning: Sequence[Conditioning],
    empty: Sequence[Conditioning] | None,
    *,
    who: str = TRAINER,
) -> TrainingSet:
    """Sorts what was wired, batches and the host's buckets of sizes included.

    latents:      of one or more images each
    conditioning: whose entries are the prompts of the images in the same order; a single entry is the prompt of all
    who:          the node, for errors
    raises:       ValueError naming what is empty, nested, not finite, of another model, or does not match in number
    """
    rows = tuple(
        row for number, latent in enumerate(latents, start=1) for row in _rows(model, latent, f"{who}: latent {number}")
    )
    if not rows:
        raise ValueError(
            f"{who}: there are no pictures to train on; see that the folder holds pictures, and wire the "
            "latents of Make Training Dataset"
        )
    texts = [[entry] for text in conditioning for entry in text]
    if len(texts) == 1:
        texts *= len(rows)
    if len(texts) != len(rows):
        raise ValueError(
            f"{who}: there are {len(rows)} pictures but {len(texts)} texts; give every picture a caption "
            "of its own, or one text for all of them"
        )
    for number, text in enumerate(texts, start=1):
        _require_one_row(text, f"{who}: text {number}")
    left_empty = [[entry] for text in empty or () for entry in text]
    if len(left_empty) > 1:
        raise ValueError(
            f"{who}: empty_text holds {len(left_empty)} conditionings, but it is a single text; wire a "
            "text encode node without words"
        )
    return TrainingSet(rows, tuple(texts), left_empty[0] if left_empty else None)


def _rows(model: ModelPatcher, latent: Latent, what: str) -> Sequence[Tensor]:
    """Splits a LATENT into its images.

    what: begins the error: the node, and the latent's number
    """
    samples = plain_samples(latent, what)
    require_finite(what, samples)
    channels = model.model.latent_format.latent_channels
    if samples.ndim < 4 or samples.shape[1] != channels:
        raise ValueError(
            f"{what} has the shape {tuple(samples.shape)}, but this model's have "
            f"{channels} channels; encode the pictures with the model's own VAE"
        )
    if comfy.sample.fix_empty_latent_channels(model, samples).shape != samples.shape or not bool(samples.any()):
        raise ValueError(f"{what} is empty (all zeros), so there is no picture in it; encode pictures with the VAE")
    return samples.detach().float().cpu().unbind(0)


def _require_one_row(text: Conditioning, what: str) -> None:
    tensor = text[0][0]
    if not isinstance(tensor, Tensor) or tensor.ndim != 3 or tensor.shape[0] != 1:
        got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        raise ValueError(
            f"{what} is {got} where one text [1, tokens, width] is expected; wire the "
            "conditioning of Make Training Dataset"
        )
    require_finite(what, tensor)
