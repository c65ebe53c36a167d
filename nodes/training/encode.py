"""Images and captions made ready for training: cut to shared sizes, encoded once, and kept on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.utils
from torch import Tensor

from ...smooth_lora.checks import require_finite
from ...smooth_lora.files.content_key import content_key
from ...smooth_lora.files.encoded_cache import EncodedCache
from ...smooth_lora.training.sizes import SIDE_STEP, nearest_size
from ..host.folders import GIB, user_folder
from ..host.names import TRAINING_DATA_NODE
from ..host.progress import stop_if_interrupted
from ..host.protocols import Clip, Conditioning, Latent, Vae
from ..host.wires import require_kind
from ..model.fingerprint import text_encoder_stamp, weights_stamp
from ..model.texts import encode_prompt

REFUSE, LEAVE_EMPTY = "refuse", "train them without a text"
MISSING_CAPTIONS = (REFUSE, LEAVE_EMPTY)
NUMBERS_IN_AN_ERROR = 8  # of images without a caption


@dataclass(frozen=True)
class EncodedSet:
    """Encoded images and captions.

    latents, texts: one of each for each image, in an order that depends on the images alone
    empty:          the empty prompt
    """

    latents: list[Latent]
    texts: list[Conditioning]
    empty: Conditioning
    report: str

    def split(
        self, held_out: int
    ) -> tuple[tuple[list[Latent], list[Conditioning]], tuple[list[Latent], list[Conditioning]]]:
        """Splits into (latents, texts) to train on, and those held out, the last ones.

        raises: ValueError if none are left to train on
        """
        left = len(self.latents) - held_out
        if left < 1:
            raise ValueError(
                f"{TRAINING_DATA_NODE}: held_out is {held_out}, but there are {len(self.latents)} pictures, so none "
                "are left to train on; hold out fewer, or put more pictures into the folder"
            )
        return (self.latents[:left], self.texts[:left]), (self.latents[left:], self.texts[left:])


def encode_set(
    images: Sequence[Tensor], captions: Sequence[str], vae: Vae, clip: Clip, *, side: int, missing: str, cache_gb: float
) -> EncodedSet:
    """Cuts, encodes and caches a folder's images and captions.

    images:   IMAGE tensors [B, H, W, C] of any sizes; captions: one for each image, or one for all
    side:     of a square of the area that images are cut to, px; missing: one of MISSING_CAPTIONS
    cache_gb: largest size of the cache on disk, GiB; 0 keeps nothing
    raises:   ValueError naming what is missing, not finite, or does not match in number; the host's interrupt
    """
    single = _single_images(images)
    checked = _checked_captions(captions, len(single), missing)
    for name, wired in (("vae", vae), ("clip", clip)):
        require_kind(f"{TRAINING_DATA_NODE}: {name}", [name.upper()], wired)
    if side % SIDE_STEP:
        raise ValueError(f"{TRAINING_DATA_NODE}: resolution must be a multiple of {SIDE_STEP}, got {side}")
    # The host lists a folder in whatever order the disk has it; a training must not depend on that.
    paired = sorted(zip(single, checked, strict=True), key=lambda pair: content_key(picture=pair[0], text=pair[1]))
    rows = [_Row(image, caption, nearest_size(image.shape[1], image.shape[2], side)) for image, caption in paired]
    encoder = _CachedEncoder(vae, clip, cache_gb)
    texts = [*dict.fromkeys([*(row.caption for row in rows), ""])]
    bar = comfy.utils.ProgressBar(len(rows) + len(texts))
    latents: list[Latent] = []
    for row in rows:
        latents.append({"samples": encoder.latent(row.image, row.size)})
        bar.update(1)
    encoded: dict[str, Conditioning] = {}
    for text in texts:
        encoded[text] = encoder.text(text)
        bar.update(1)
    return EncodedSet(latents, [encoded[row.caption] for row in rows], encoded[""], _report(rows, encoder))


@dataclass(frozen=True)
class _Row:
    """An image [1, H, W, 3], its caption, and the (height, width) that it is cut to."""

    image: Tensor
    caption: str
    size: tuple[int, int]


class _CachedEncoder:
    """A VAE and a CLIP with a cache on disk.

    encoded, from_disk: number of images and captions
    """

    def __init__(self, vae: Vae, clip: Clip, cache_gb: float):
        self._vae, self._clip = vae, clip
        self._vae_stamp, self._clip_stamp = weights_stamp(vae), text_encoder_stamp(clip)
        self._cache = EncodedCache(user_folder("encoded"), int(cache_gb * GIB))
        self.encoded = self.from_disk = 0

    def latent(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Encodes an image, cut to (height, width)."""
        return self._made(lambda: self._vae.encode(_cut(image, *size)), self._vae_stamp, picture=image, size=list(size))

    def text(self, caption: str) -> Conditioning:
        """Encodes a caption."""
        return self._made(lambda: encode_prompt(self._clip, caption, bar=False), self._clip_stamp, text=caption)

    def _made(self, make: Callable[[], Any], stamp: str | None, **parts: object) -> Any:
        """Returns the cached result of an encoder with that stamp for these parts, or makes it; no stamp, no cache."""
        stop_if_interrupted()
        key = None if stamp is None else content_key(stamp=stamp, **parts)
        cached = None if key is None else self._cache.get(key)
        if cached is not None:
            self.from_disk += 1
            return cached
        value = make()
        self.encoded += 1
        if key is not None:
            self._cache.put(key, value)
        return value


def _single_images(images: Sequence[Tensor]) -> list[Tensor]:
    """Splits batches into images [1, H, W, 3]."""
    single: list[Tensor] = []
    for number, image in enumerate(images, start=1):
        require_kind(f"{TRAINING_DATA_NODE}: picture {number}", ["IMAGE"], image)
        require_finite(f"{TRAINING_DATA_NODE}: picture {number}", image)
        single += image[..., :3].float().cpu().split(1)
    if not single:
        raise ValueError(
            f"{TRAINING_DATA_NODE}: there are no pictures; put PNG, JPG or WEBP files into the folder, and a text file "
            "of the same name with its caption beside each"
        )
    return single


def _checked_captions(captions: Sequence[str], images: int, missing: str) -> list[str]:
    """Returns one caption for each image."""
    checked = [caption.strip() for caption in captions]
    if len(checked) == 1:
        checked *= images
    if len(checked) != images:
        raise ValueError(
            f"{TRAINING_DATA_NODE}: there are {images} pictures but {len(checked)} captions; wire both outputs of one "
            "Load Image-Text (from Folder), or one text for all pictures"
        )
    without = [str(number) for number, caption in enumerate(checked, start=1) if not caption]
    if without and missing == REFUSE:
        rest = len(without) - NUMBERS_IN_AN_ERROR
        more = f" and {rest} more" if rest > 0 else ""
        raise ValueError(
            f"{TRAINING_DATA_NODE}: {len(without)} of {images} pictures have no caption (number "
            f"{', '.join(without[:NUMBERS_IN_AN_ERROR])}{more} in the order of the list); put a text file of the same "
            f"name beside each, or set missing_captions to '{LEAVE_EMPTY}'"
        )
    return checked


def _cut(image: Tensor, height: int, width: int) -> Tensor:
    """Cuts the middle of an image to that size, by the host's own scaling, which goes through eight bits."""
    if image.shape[1:3] == (height, width):
        return image
    scaled = comfy.utils.common_upscale(image.movedim(-1, 1), width, height, "lanczos", "center")
    return scaled.movedim(1, -1).clamp(0, 1)


def _report(rows: Sequence[_Row], encoder: _CachedEncoder) -> str:
    captions = [row.caption for row in rows]
    lines = [
        f"{len(rows)} pictures, {len(set(captions))} captions; {encoder.encoded} encoded now, {encoder.from_disk} "
        "taken from disk"
    ]
    sizes = Counter(row.size for row in rows)
    lines += [f"{width} x {height} px: {count}" for (height, width), count in sorted(sizes.items())]
    enlarged = sum(row.image.shape[1] < row.size[0] or row.image.shape[2] < row.size[1] for row in rows)
    if enlarged:
        lines.append(
            f"{enlarged} pictures are smaller than what they are cut to and were enlarged, which blurs them; "
            "a lower resolution avoids it"
        )
    if not all(captions):
        lines.append(f"{sum(not caption for caption in captions)} pictures are trained without a text")
    return "\n".join(lines)
