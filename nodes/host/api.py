"""The host's node interface, imported in this one place so that a later version of it is one line to change."""

from comfy_api.latest import ComfyExtension, io, ui

__all__ = ["SHOWS_ITSELF", "ComfyExtension", "io", "ui"]

# For the Schema of a node that shows something but ends no graph: its UI output is sent again when its result is in the
# cache. ComfyUI before 0.24 cannot do that.
SHOWS_ITSELF = {"has_intermediate_output": True} if "has_intermediate_output" in io.Schema.__dataclass_fields__ else {}
