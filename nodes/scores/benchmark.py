"""Renders and scores the benchmark's walks on the host, continuing an earlier run that was stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import comfy.model_management
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.scores.rows import Conditions, Journal, Row, WalkSetting, pair_seeds
from ...smooth_lora.scores.smoothness import score
from ...smooth_lora.walks.walk import schedule
from ..host.progress import WalkProgress
from ..host.protocols import Clip, Conditioning, Vae
from ..host.wires import require_kind
from ..model.fingerprint import fingerprint
from ..model.texts import encode_prompt
from ..walks.noise import WalkNoise, seed_keyframes
from ..walks.render import render_walk
from ..walks.walk_wires import WalkWires, walk_units

# Called with the model's name, the prompt's index from 0, the frames [N, H, W, C] and their row.
OnWalk = Callable[[str, int, Tensor, Row], None]
PIXELS_PER_LATENT = 8  # of the host's empty latents; render_walk converts them for models with another ratio


@dataclass(frozen=True)
class Benchmark:
    """One benchmark on the host's objects.

    models: name -> MODEL, one or two
    raises: ValueError if the clip or the vae is missing, or the size is no multiple of 8
    """

    models: Mapping[str, ModelPatcher]
    clip: Clip
    vae: Vae
    prompts: Sequence[str]
    seed: int
    setting: WalkSetting
    frames_per_batch: int = 0

    def __post_init__(self) -> None:
        for name in ("clip", "vae"):
            require_kind(name, [name.upper()], getattr(self, name))
        for name in ("width", "height"):
            size = getattr(self.setting, name)
            if size % PIXELS_PER_LATENT:
                raise ValueError(f"{name} must be a multiple of {PIXELS_PER_LATENT}, got {size}")

    def run(
        self, journal: Journal, on_walk: OnWalk | None = None, prompts: Sequence[int] | None = None
    ) -> dict[str, list[Row]]:
        """Returns the rows of every model in the order of the prompts, rendering those that the journal does not hold.

        on_walk: called after each walk rendered, before it counts as done
        prompts: indices from 0 of those to do; all if None
        raises:  errors of render_walk and Journal; rows finished before that are in the journal
        """
        done = journal.read()
        negative = encode_prompt(self.clip, self.setting.negative)
        walks = self._walks(negative, range(len(self.prompts)) if prompts is None else prompts)
        missing = {
            walk.key: (name, index, walk)
            for name, conditions in walks.items()
            for index, walk in conditions.items()
            if walk.key not in done
        }
        progress = self._progress(len(missing))
        for name, index, walk in missing.values():
            images = self._frames(self.models[name], walk, negative, progress)
            row = Row(walk, score(images, f"the walk of {walk.prompt!r}"))
            if on_walk is not None:
                on_walk(name, index, images, row)
            done[walk.key] = row
            journal.append(row)
        return {name: [done[walk.key] for walk in conditions.values()] for name, conditions in walks.items()}

    def _walks(self, negative: Conditioning, prompts: Sequence[int]) -> dict[str, dict[int, Conditions]]:
        """Returns the conditions of every walk by model and the prompt's index.

        A prompt is identified by its encoding: that covers the text encoder, its LoRAs, its last layer and the
        embedding files that the prompt names. All weights of the VAE count, although `weights_stamp` reads only
        sixteen of each tensor: the digest is part of the keys in existing journals, whose walks would be rendered
        again with any other.
        """
        texts = {
            index: _digest(_tensors_of(encode_prompt(self.clip, self.prompts[index]) + negative)) for index in prompts
        }
        vae = _digest(tensor for _, tensor in sorted(self.vae.get_sd().items()))
        fingerprints = {name: fingerprint(model) for name, model in self.models.items()}
        return {
            name: {index: self._conditions(index, digits, text, vae) for index, text in texts.items()}
            for name, digits in fingerprints.items()
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
        """Makes one progress over this many walks."""
        model = next(iter(self.models.values()))
        return WalkProgress(model, walks * walk_units(self.setting.frames, len(self._sigmas(model)) - 1, decoded=True))

    def _frames(self, model: ModelPatcher, walk: Conditions, negative: Conditioning, progress: WalkProgress) -> Tensor:
        """Renders the frames [N, H, W, C] of one walk."""
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(encode_prompt(self.clip, walk.prompt), negative)
        guider.set_cfg(walk.cfg)
        latent = torch.zeros(1, 4, walk.height // PIXELS_PER_LATENT, walk.width // PIXELS_PER_LATENT)
        wires = WalkWires(
            guider=guider,
            sampler=comfy.samplers.sampler_object(walk.sampler_name),
            sigmas=self._sigmas(model),
            noise=WalkNoise(seed_keyframes(walk.seeds), "slerp"),
            latent={"samples": latent, "downscale_ratio_spacial": PIXELS_PER_LATENT},
            walk=schedule(walk.frames),
            vae=self.vae,
            frames_per_batch=self.frames_per_batch,
        )
        rendered = render_walk(wires, progress=progress)
        images = cast(Tensor, rendered.images)  # None only without a VAE
        if images.shape[0] != walk.frames:
            raise ValueError(
                f"this model makes {images.shape[0]} images where {walk.frames} frames were "
                "asked for: it makes video, and the benchmark scores walks of single images "
                "only"
            )
        return images

    def _sigmas(self, model: ModelPatcher) -> Tensor:
        """Returns the sigmas [steps + 1] as the host's KSampler takes them, which leaves one out for some samplers."""
        s = self.setting
        return comfy.samplers.KSampler(model, s.steps, "cpu", s.sampler_name, s.scheduler, 1.0).sigmas


def _tensors_of(conditioning: Conditioning) -> list[Tensor]:
    """Lists the tensors of a CONDITIONING, those of an entry by the order of their names."""
    return [
        t
        for tensor, entry in conditioning
        for t in (tensor, *(value for _, value in sorted(entry.items()) if isinstance(value, Tensor)))
    ]


def _digest(tensors: Iterable[Tensor]) -> str:
    """Sixteen hexadecimal digits of all values of the tensors, as float32."""
    digest = hashlib.sha256()
    for t in tensors:
        digest.update(f"{tuple(t.shape)}".encode())
        digest.update(t.detach().to("cpu", torch.float32).contiguous().numpy().data)
    return digest.hexdigest()[:16]
