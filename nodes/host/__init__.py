"""ComfyUI itself: its node interface, wires, folders, progress and memory."""
