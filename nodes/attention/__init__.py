"""The Attention Walk: attention between keyframes on the host's models, and its node."""
