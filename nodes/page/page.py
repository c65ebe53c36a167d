"""Messages to the page that queued a prompt, and files that it can show."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path
from typing import Any

import folder_paths
from server import PromptServer

from ..host.api import io

log = logging.getLogger(__name__)
SHOWN_FOLDER = "smooth_diffusion"


class Page:
    """The page that watches one run of a node.

    cls: the node as the host runs it, with its unique_id among its hidden inputs
    """

    def __init__(self, cls: type[io.ComfyNode]):
        hidden = getattr(cls, "hidden", None)
        self._node_id = None if hidden is None else hidden.unique_id

    def tell(self, event: str, data: dict[str, Any]) -> None:
        """Sends plain JSON data; without a page nothing happens."""
        server = getattr(PromptServer, "instance", None)
        if server is not None and self._node_id is not None:
            server.send_sync(event, {"node": self._node_id, **data}, server.client_id)


class ShownFolder:
    """A new folder below the host's temp folder, made with its first file.

    subfolder: below temp, as the host's /view takes it
    """

    def __init__(self) -> None:
        self.subfolder = f"{SHOWN_FOLDER}/{secrets.token_hex(8)}"
        self._path = Path(folder_paths.get_temp_directory()) / self.subfolder

    def file(self, name: str) -> Path:
        """Returns the path of a file of that name.

        raises: OSError
        """
        self._path.mkdir(parents=True, exist_ok=True)
        return self._path / name


def not_shown(what: str, error: OSError) -> None:
    """Logs that a file for the page could not be written; the work goes on."""
    log.warning(
        "the page cannot show %s: ComfyUI's temp folder could not be written (%s)", what, error.strerror or error
    )
