"""Renders and scores the benchmark's walks on the host, taking up where an earlier run stopped."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import comfy.model_management
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.scores.rows import Conditions, Journal, Row, WalkSetting, pair_seeds
from ...smooth_lora.scores.smoothness import score
from ...smooth_lora.walks.walk import schedule
from ..host.progress import WalkProgress
from ..host.wires import require_kind
from ..model.fingerprint import fingerprint
from ..model.texts import encode_prompt
from ..walks.noise import WalkNoise, seed_keyframes
from ..walks.render import render_walk, walk_units

SAMPLERS, SCHEDULERS = comfy.samplers.KSampler.SAMPLERS, comfy.samplers.KSampler.SCHEDULERS
# Told the model's name, the prompt's place from 0, the frames [N, H, W, C] and their row.
Seen = Callable[[str, int, Tensor, Row], None]
PIXELS_PER_LATENT = 8  # of the host's empty latents; render_walk converts them for models with another ratio


@dataclass(frozen=True)
class Benchmark:
    """One benchmark on the host's objects.

    models: name -> MODEL, one or two
    raises: ValueError if the clip or the vae is missing, or the size is no multiple of 8
    """

    models: Mapping[str, ModelPatcher]
    clip: object
    vae: object
    prompts: Sequence[str]
    seed: int
    setting: WalkSetting
    frames_per_batch: int = 0

    def __post_init__(self):
        for name in ("clip", "vae"):
            require_kind(name, [name.upper()], getattr(self, name))
        for name in ("width", "height"):
            if getattr(self.setting, name) % PIXELS_PER_LATENT:
                found = getattr(self.setting, name)
                raise ValueError(f"{name} must be a multiple of {PIXELS_PER_LATENT}, got {found}")

    def run(
        self, journal: Journal, seen: Seen | None = None, places: Sequence[int] | None = None
    ) -> dict[str, list[Row]]:
        """The rows of every model in the order of the prompts, rendering those that the journal has not.

        places: of the prompts to do, from 0; all if not given
        seen:   called after each walk rendered, before it counts as done
        raises: what render_walk and Journal raise; rows finished before that are in the journal
        """
        done = journal.read()
        negative = encode_prompt(self.clip, self.setting.negative)
        walks = self._walks(negative, range(len(self.prompts)) if places is None else places)
        missing = {
            walk.key: (name, place, walk)
            for name, conditions in walks.items()
            for place, walk in conditions.items()
            if walk.key not in done
        }
        progress = self._progress(len(missing))
        for name, place, walk in missing.values():
            images = self._frames(self.models[name], walk, negative, progress)
            row = Row(walk, score(images, f"the walk of {walk.prompt!r}"))
            if seen is not None:
                seen(name, place, images, row)
            done[walk.key] = row
            journal.append(done[walk.key])
        return {name: [done[walk.key] for walk in conditions.values()] for name, conditions in walks.items()}

    def _walks(self, negative: list, places: Sequence[int]) -> dict[str, dict[int, Conditions]]:
        """The conditions of every walk, by model and the prompt's place.

        A text is known by what it is encoded to: that covers the text encoder, its LoRAs, its last layer and
        the embedding files that a prompt names.
        """
        texts = {
            place: _digest(_text_content(encode_prompt(self.clip, self.prompts[place]) + negative)) for place in places
        }
        vae = _digest(tensor for _, tensor in sorted(self.vae.get_sd().items()))
        marks = {name: fingerprint(model) for name, model in self.models.items()}
        return {
            name: {place: self._conditions(place, mark, text, vae) for place, text in texts.items()}
            for name, mark in marks.items()
        }

    def _conditions(self, index: int, model: str, text: str, vae: str) -> Conditions:
        return Conditions(
            prompt=self.prompts[index],
            seeds=pair_seeds(self.seed, index),
            model=model,
            text=text,
            vae=vae,
            **vars(self.setting),
        )

    def _progress(self, walks: int) -> WalkProgress:
        """One progress over this many walks."""
        model = next(iter(self.models.values()))
        return WalkProgress(model, walks * walk_units(self.setting.frames, self._sigmas(model), decoded=True))

    def _frames(self, model: ModelPatcher, walk: Conditions, negative: list, progress: WalkProgress) -> Tensor:
        """The pictures [frames, H, W, C] of one walk."""
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(encode_prompt(self.clip, walk.prompt), negative)
        guider.set_cfg(walk.cfg)
        latent = torch.zeros(1, 4, walk.height // PIXELS_PER_LATENT, walk.width // PIXELS_PER_LATENT)
        images = render_walk(
            guider=guider,
            sampler=comfy.samplers.sampler_object(walk.sampler_name),
            sigmas=self._sigmas(model),
            noise=WalkNoise(seed_keyframes(walk.seeds), "slerp"),
            latent={"samples": latent, "downscale_ratio_spacial": PIXELS_PER_LATENT},
            walk=schedule(walk.frames),
            vae=self.vae,
            frames_per_batch=self.frames_per_batch,
            progress=progress,
        ).images
        if images.shape[0] != walk.frames:
            raise ValueError(
                f"this model makes {images.shape[0]} pictures where {walk.frames} frames were "
                "asked for: it makes video, and the benchmark scores walks of single pictures "
                "only"
            )
        return images

    def _sigmas(self, model: ModelPatcher) -> Tensor:
        """[steps + 1] as the host's KSampler takes them, which leaves one out for some samplers."""
        s = self.setting
        return comfy.samplers.KSampler(model, s.steps, "cpu", s.sampler_name, s.scheduler, 1.0).sigmas


def _text_content(conditioning: list) -> list[Tensor]:
    """The tensors of a CONDITIONING, in an order of their own."""
    return [
        t
        for tensor, entry in conditioning
        for t in (tensor, *(value for _, value in sorted(entry.items()) if isinstance(value, Tensor)))
    ]


def _digest(tensors: Iterable[Tensor]) -> str:
    """Sixteen hexadecimal digits of everything in the tensors, as float32."""
    digest = hashlib.sha256()
    for t in tensors:
        digest.update(f"{tuple(t.shape)}".encode())
        digest.update(t.detach().to("cpu", torch.float32).contiguous().numpy())
    return digest.hexdigest()[:16]
