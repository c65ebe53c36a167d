"""Smooth Diffusion for ComfyUI: smooth walks through noise and text, and a score of how smooth they are."""

from .nodes import comfy_entrypoint

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
