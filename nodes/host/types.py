"""Categories of our nodes, types of their own wires, and the host's lists for combos."""

from __future__ import annotations

import comfy.samplers

from .api import io

CATEGORY = "Smooth Diffusion"
CATEGORY_INVERSION = f"{CATEGORY}/inversion"
CATEGORY_TRAINING = f"{CATEGORY}/training"
WALK = io.Custom("SMOOTH_WALK")
INVERSION = io.Custom("SMOOTH_INVERSION")
TRAINING_CHECK = io.Custom("SMOOTH_TRAINING_CHECK")
SAMPLERS, SCHEDULERS = comfy.samplers.KSampler.SAMPLERS, comfy.samplers.KSampler.SCHEDULERS
