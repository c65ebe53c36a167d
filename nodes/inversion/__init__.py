"""The inversion and replay nodes."""
