"""ComfyUI's MODEL and CONDITIONING: calls, layers, gradients, fingerprints."""
