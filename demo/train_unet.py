"""Stage `unet`: plain eps prediction on SD1.x's schedule, with empty prompts mixed in for cfg."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from smooth_lora.sampling.scale import per_sample, scaled_linear_alpha_bar

from .contexts import cached_contexts
from .latents import cached_latents
from .training import Ema, LossLog, cosine_lr, save_atomically
from .unet import new_unet, predict_eps

STEPS = 5000
BATCH = 24
LEARNING_RATE = 4e-4
WARMUP = 50
EMPTY_PROMPTS = 0.1
EMA_DECAY = 0.995
SAVE_EVERY = 100
SEED = 3


class Batch(NamedTuple):
    """One training batch: x0, eps [B, 4, 8, 8], t [B], context [B, 77, 768]."""

    x0: Tensor
    eps: Tensor
    t: Tensor
    context: Tensor

    def x_vp(self, alpha_bar: Tensor) -> Tensor:
        """The noised latents that the network sees."""
        signal = per_sample(alpha_bar[self.t], self.x0)
        return signal.sqrt() * self.x0 + (1 - signal).sqrt() * self.eps


def draw_batch(latents: Tensor, contexts: Tensor, count: int, generator: torch.Generator) -> Batch:
    """Random pictures, timesteps and noise; one prompt in ten is the empty one."""
    prompt = torch.randint(latents.shape[0], (count,), generator=generator)
    picture = torch.randint(latents.shape[1], (count,), generator=generator)
    t = torch.randint(1000, (count,), generator=generator)
    eps = torch.randn(count, *latents.shape[2:], generator=generator)
    empty = torch.rand(count, generator=generator) < EMPTY_PROMPTS
    return Batch(latents[prompt, picture], eps, t, contexts[torch.where(empty, len(contexts) - 1, prompt)])


def eps_errors(unet: nn.Module, batch: Batch, alpha_bar: Tensor) -> Tensor:
    """Mean squared error of eps per sample: [B]. bfloat16 matrix products, float32 weights."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        eps = predict_eps(
            unet, batch.x_vp(alpha_bar).contiguous(memory_format=torch.channels_last), batch.t, batch.context
        )
    return ((eps.float() - batch.eps) ** 2).flatten(1).mean(dim=1)


class UnetTraining:
    """Everything that changes while the UNet trains, so that it can be saved and taken up again."""

    def __init__(self) -> None:
        torch.manual_seed(SEED)
        self.unet = new_unet().to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.unet.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
        self.ema = Ema(self.unet, EMA_DECAY)
        self.generator = torch.Generator().manual_seed(SEED)
        self.log = LossLog()
        self.step, self.seconds = 0, 0.0

    def state(self) -> dict[str, object]:
        """Everything that a later run needs to continue as if nothing had happened."""
        return {
            "unet": self.unet.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.weights,
            "generator": self.generator.get_state(),
            "log": self.log.rows,
            "step": self.step,
            "seconds": self.seconds,
        }

    def load(self, state: dict[str, object]) -> None:
        """Continue from `state`."""
        self.unet.load_state_dict(state["unet"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.weights, self.ema.updates, self.log.rows = state["ema"], state["step"], state["log"]
        self.generator.set_state(state["generator"])
        self.step, self.seconds = state["step"], state["seconds"]

    def advance(self, batch: Batch, alpha_bar: Tensor) -> None:
        """One optimizer step."""
        started = time.monotonic()
        for group in self.optimizer.param_groups:
            group["lr"] = cosine_lr(self.step, STEPS, LEARNING_RATE, warmup=WARMUP)
        errors = eps_errors(self.unet, batch, alpha_bar)
        self.optimizer.zero_grad()
        errors.mean().backward()
        nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizer.step()
        self.ema.update(self.unet)
        self.log.add(errors.detach(), batch.t)
        self.step += 1
        self.seconds += time.monotonic() - started


def train_unet(folder: Path) -> None:
    """Train or resume; the state in folder/unet.pt is renewed every SAVE_EVERY steps."""
    alpha_bar = scaled_linear_alpha_bar().float()
    latents, contexts = cached_latents(folder), cached_contexts(folder)
    training = UnetTraining()
    if (folder / "unet.pt").is_file():
        training.load(torch.load(folder / "unet.pt", weights_only=True))
    while training.step < STEPS:
        training.advance(draw_batch(latents, contexts, BATCH, training.generator), alpha_bar)
        if training.step % 25 == 0:
            seconds, recent = training.seconds, training.log.recent()
            print(f"unet {training.step}/{STEPS} {seconds:.0f} s {recent}", flush=True)
        if training.step % SAVE_EVERY == 0 or training.step == STEPS:
            training.log.close_row(training.step)
            save_atomically(training.state(), folder / "unet.pt")
