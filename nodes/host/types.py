"""The categories of our nodes, and the types of their own wires."""

from __future__ import annotations

from .api import io

CATEGORY = "Smooth Diffusion"
CATEGORY_INVERSION = f"{CATEGORY}/inversion"
CATEGORY_TRAINING = f"{CATEGORY}/training"
WALK = io.Custom("SMOOTH_WALK")
INVERSION = io.Custom("SMOOTH_INVERSION")
TRAINING_CHECK = io.Custom("SMOOTH_TRAINING_CHECK")
