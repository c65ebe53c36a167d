"""Inversion: from an image to the noise that gives it back."""
