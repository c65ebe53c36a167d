"""The file of a video in the output folder, its metadata, and its preview on the page."""

from __future__ import annotations

from dataclasses import dataclass

import folder_paths
from comfy.cli_args import args
from comfy_api.latest import InputImpl

from ..host.api import io, ui
from ..host.folders import output_files
from ..walks.walk_wires import WalkWires
from .file import VideoSettings
from .parts import walk_to_video


@dataclass(frozen=True)
class SavedVideo:
    """A video as outputs and as the page shows it."""

    video: object
    report: str
    ui: ui.PreviewVideo


def save_video(cls: type[io.ComfyNode], wires: WalkWires, filename_prefix: str, settings: VideoSettings) -> SavedVideo:
    """Renders a walk into a new numbered file of the output folder, its workflow inside; see `walk_to_video`.

    cls: the node, which knows its graph
    """
    (plain,) = output_files(filename_prefix, [".mp4"])
    _, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        filename_prefix, folder_paths.get_output_directory()
    )
    path = plain.with_name(f"{name}_{counter:05}_.mp4")
    written = walk_to_video(wires, path, settings, _metadata(cls))
    shown = ui.PreviewVideo([ui.SavedResult(path.name, subfolder, io.FolderType.output)])
    return SavedVideo(InputImpl.VideoFromFile(str(path)), written.report, shown)


def _metadata(cls: type[io.ComfyNode]) -> dict:
    """The graph, as the host's own Save Video writes it."""
    hidden = getattr(cls, "hidden", None)
    if args.disable_metadata or hidden is None:
        return {}
    prompt = {} if hidden.prompt is None else {"prompt": hidden.prompt}
    return {**(hidden.extra_pnginfo or {}), **prompt}
