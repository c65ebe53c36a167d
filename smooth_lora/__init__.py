"""Smooth latent spaces on plain tensors: walks, even pacing, inversion, training and scores, without any host.

import torch
from smooth_lora import NoisePath, Scale, invert_exact, replay_ddim, replay_exact, schedule, score, seed_noise

denoise = lambda x, sigma: x / (1 + sigma**2)  # your model: (x [B, C, H, W], sigma) -> denoised, guidance included
sigmas = [14.6, 5.0, 1.5, 0.4, 0.0]
keyframes = torch.cat([seed_noise(seed, (3, 64, 64)) for seed in (12, 99)])
noise = NoisePath(keyframes, "slerp").at(schedule(24))  # the noise of 24 frames
frames = replay_ddim(denoise, noise * sigmas[0], sigmas)[-1]
print(score((frames / 8 + 0.5).movedim(1, -1)).cv)  # how evenly they move; 0 is an even walk
states = invert_exact(denoise, frames.double(), sigmas, Scale())  # from images to noise
again = replay_exact(denoise, states[0], states[1], sigmas)[-1]  # and back
"""

from __future__ import annotations

from .attention.between import Between, interpolated_attention
from .files.tensor_file import read_tensor_file
from .inversion.algorithms.anchored import proximal, replay_direct, replay_proximal
from .inversion.algorithms.encoders import dpm_encoder_path, edit_friendly_path, replay_residuals, residuals_of
from .inversion.algorithms.exact import invert_exact, replay_exact
from .inversion.algorithms.fixed_point import invert_fixed_point
from .inversion.algorithms.null_text import optimise_nulls
from .inversion.algorithms.plain import invert_ddim, replay_ddim
from .inversion.algorithms.text_fit import fit_text
from .inversion.inversion_file import load_inversion, save_inversion
from .inversion.methods import METHODS
from .inversion.record import Inversion
from .inversion.whiteness import whiten, whiteness
from .lora.pairs import Lora, LoraPair, lora_output
from .lora.parse import parse_lora
from .pacing.pacer import Pacer
from .sampling.denoise import Denoise, DenoiseRows, OnStep
from .sampling.scale import Scale
from .scores.quality import mse, psnr, relative_error, ssim
from .scores.smoothness import Smoothness, score
from .training.estimators import TrainingSample, accumulate
from .training.loop import DenoiserFor, Trainer, TrainingData
from .training.settings import TrainingSettings
from .training.variation import step_variation
from .walks.arc import lerp, slerp
from .walks.mixing import variance_exact
from .walks.noise import NoisePath, seed_noise
from .walks.spline import SphericalSpline
from .walks.text import TextPath
from .walks.walk import Walk, schedule

__all__ = [
    "METHODS",
    "Between",
    "Denoise",
    "DenoiseRows",
    "DenoiserFor",
    "Inversion",
    "Lora",
    "LoraPair",
    "NoisePath",
    "OnStep",
    "Pacer",
    "Scale",
    "Smoothness",
    "SphericalSpline",
    "TextPath",
    "Trainer",
    "TrainingData",
    "TrainingSample",
    "TrainingSettings",
    "Walk",
    "accumulate",
    "dpm_encoder_path",
    "edit_friendly_path",
    "fit_text",
    "interpolated_attention",
    "invert_ddim",
    "invert_exact",
    "invert_fixed_point",
    "lerp",
    "load_inversion",
    "lora_output",
    "mse",
    "optimise_nulls",
    "parse_lora",
    "proximal",
    "psnr",
    "read_tensor_file",
    "relative_error",
    "replay_ddim",
    "replay_direct",
    "replay_exact",
    "replay_proximal",
    "replay_residuals",
    "residuals_of",
    "save_inversion",
    "schedule",
    "score",
    "seed_noise",
    "slerp",
    "ssim",
    "step_variation",
    "variance_exact",
    "whiten",
    "whiteness",
]
