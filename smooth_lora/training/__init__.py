"""Training of a Smooth-LoRA: losses, their gradients, the loop."""
