"""Scores: smoothness of walks, and differences between images."""
