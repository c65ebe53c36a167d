"""Pictures and captions made ready for training: cut to shared sizes, encoded once, and kept on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import comfy.model_management
import comfy.utils
from torch import Tensor

from ...smooth_lora.checks import require_finite
from ...smooth_lora.files.content_key import content_key
from ...smooth_lora.files.encoded_cache import EncodedCache
from ...smooth_lora.training.sizes import STEP, nearest_size
from ..host.folders import user_folder
from ..host.progress import stop_if_interrupted
from ..host.wires import require_kind
from ..model.fingerprint import text_encoder_stamp, weights_stamp
from ..model.texts import encode_prompt

WHO = "Smooth-LoRA Training Data"
REFUSE, LEAVE_EMPTY = "refuse", "train them without a text"
MISSING = (REFUSE, LEAVE_EMPTY)
NAMED = 8  # places that an error spells out
GIB = 1 << 30


@dataclass(frozen=True)
class EncodedSet:
    """latents, texts: one LATENT dict and one CONDITIONING for each picture, in an order that depends on the pictures
    alone; empty: CONDITIONING of no words"""

    latents: list[dict]
    texts: list[list]
    empty: list
    report: str

    def split(self, held_out: int) -> tuple[tuple[list, list], tuple[list, list]]:
        """(latents, texts) to train on, and those held out, the last ones.

        raises: ValueError if none are left to train on
        """
        left = len(self.latents) - held_out
        if left < 1:
            raise ValueError(
                f"{WHO}: held_out is {held_out}, but there are {len(self.latents)} pictures, so none are "
                "left to train on; hold out fewer, or put more pictures into the folder"
            )
        return (self.latents[:left], self.texts[:left]), (self.latents[left:], self.texts[left:])


def encode_set(
    images: Sequence[Tensor], captions: Sequence[str], vae, clip, *, side: int, missing: str, cache_gb: float
) -> EncodedSet:
    """Cut, encode and remember a folder's pictures and captions.

    images:   IMAGE tensors [B, H, W, C] of any sizes; captions: one for each picture, or one for all
    side:     of a square of the area that pictures are cut to, px; missing: one of MISSING
    cache_gb: what encoded pictures and texts may take on the disk; 0 keeps none
    raises:   ValueError naming what is missing, not finite, or does not match in number; the host's interrupt
    """
    pictures = _pictures(images)
    captions = _captions(captions, len(pictures), missing)
    for name, given in (("vae", vae), ("clip", clip)):
        require_kind(f"{WHO}: {name}", [name.upper()], given)
    if side % STEP:
        raise ValueError(f"{WHO}: resolution must be a multiple of {STEP}, got {side}")
    # The host lists a folder in whatever order the disk has it; a training must not depend on that.
    paired = sorted(zip(pictures, captions, strict=True), key=lambda pair: content_key(picture=pair[0], text=pair[1]))
    pictures, captions = map(list, zip(*paired, strict=True))
    store = _Store(cache_gb)
    sizes = [nearest_size(*picture.shape[1:3], side) for picture in pictures]
    vae_stamp, clip_stamp = weights_stamp(vae), text_encoder_stamp(clip)
    bar = comfy.utils.ProgressBar(len(pictures) + len(set(captions)))
    latents = []
    for picture, size in zip(pictures, sizes, strict=True):
        latents.append(
            {
                "samples": store.made(
                    lambda picture=picture, size=size: vae.encode(_cut(picture, *size)),
                    vae_stamp,
                    picture=picture,
                    size=list(size),
                )
            }
        )
        bar.update(1)
    texts = {}
    for caption in dict.fromkeys([*captions, ""]):
        texts[caption] = store.made(
            lambda caption=caption: encode_prompt(clip, caption, bar=False), clip_stamp, text=caption
        )
        bar.update(1)
    return EncodedSet(
        latents, [texts[caption] for caption in captions], texts[""], _report(pictures, captions, sizes, store)
    )


class _Store:
    """What was encoded before, and how much of it was of use."""

    def __init__(self, cache_gb: float):
        self._cache = EncodedCache(user_folder("encoded"), int(cache_gb * GIB))
        self.found = self.encoded = 0

    def made(self, make: Callable[[], object], stamp: str | None, **parts: object) -> object:
        """What was made of these parts by an encoder with that stamp, or is made now; no stamp, no memory."""
        stop_if_interrupted()
        key = None if stamp is None else content_key(stamp=stamp, **parts)
        known = None if key is None else self._cache.get(key)
        if known is not None:
            self.found += 1
            return known
        value = make()
        self.encoded += 1
        if key is not None:
            self._cache.put(key, value)
        return value


def _pictures(images: Sequence[Tensor]) -> list[Tensor]:
    """[1, H, W, 3] each."""
    pictures = []
    for place, image in enumerate(images, start=1):
        require_kind(f"{WHO}: picture {place}", ["IMAGE"], image)
        require_finite(f"{WHO}: picture {place}", image)
        pictures += image[..., :3].float().cpu().split(1)
    if not pictures:
        raise ValueError(
            f"{WHO}: there are no pictures; put PNG, JPG or WEBP files into the folder, and a text file "
            "of the same name with its caption beside each"
        )
    return pictures


def _captions(captions: Sequence[str], pictures: int, missing: str) -> list[str]:
    captions = [caption.strip() for caption in captions]
    if len(captions) == 1:
        captions *= pictures
    if len(captions) != pictures:
        raise ValueError(
            f"{WHO}: there are {pictures} pictures but {len(captions)} captions; wire both outputs of one "
            "Load Image-Text (from Folder), or one text for all pictures"
        )
    without = [str(place) for place, caption in enumerate(captions, start=1) if not caption]
    if without and missing == REFUSE:
        more = f" and {len(without) - NAMED} more" if len(without) > NAMED else ""
        raise ValueError(
            f"{WHO}: {len(without)} of {pictures} pictures have no caption (number "
            f"{', '.join(without[:NAMED])}{more} in the order of the list); put a text file of the same "
            f"name beside each, or set missing_captions to '{LEAVE_EMPTY}'"
        )
    return captions


def _cut(picture: Tensor, height: int, width: int) -> Tensor:
    """The middle of the picture at that size, by the host's own scaling, which takes it through eight bits."""
    if picture.shape[1:3] == (height, width):
        return picture
    scaled = comfy.utils.common_upscale(picture.movedim(-1, 1), width, height, "lanczos", "center")
    return scaled.movedim(1, -1).clamp(0, 1)


def _report(
    pictures: Sequence[Tensor], captions: Sequence[str], sizes: Sequence[tuple[int, int]], store: _Store
) -> str:
    enlarged = sum(
        picture.shape[1] < height or picture.shape[2] < width
        for picture, (height, width) in zip(pictures, sizes, strict=True)
    )
    lines = [
        f"{len(pictures)} pictures, {len(set(captions))} captions; {store.encoded} encoded now, {store.found} "
        "taken from disk"
    ]
    lines += [f"{width} x {height} px: {count}" for (height, width), count in sorted(Counter(sizes).items())]
    if enlarged:
        lines.append(
            f"{enlarged} pictures are smaller than what they are cut to and were enlarged, which blurs them; "
            "a lower resolution avoids it"
        )
    if not all(captions):
        lines.append(f"{sum(not caption for caption in captions)} pictures are trained without a text")
    return "\n".join(lines)
