"""Sampling: the denoiser's contract, the scales of noisy latents, the steps of DDIM."""
