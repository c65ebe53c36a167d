"""Walks: positions of frames, and noise and text between keyframes."""
