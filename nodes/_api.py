"""The host's node interface, imported in this one place so that a later version of it is one line to change."""

from comfy_api.latest import ComfyExtension, io, ui

__all__ = ["ComfyExtension", "io", "ui"]
