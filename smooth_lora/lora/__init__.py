"""LoRA files as checked pairs of matrices."""
