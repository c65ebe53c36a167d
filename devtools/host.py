"""Make `.host/` from nothing: the pinned ComfyUI, a virtual environment where it runs, this pack linked in.

Nothing here runs in a user's installation. Each step leaves a stamp with a hash of what was asked, so that a
second run does only what is missing or out of date.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from .archives import ARCHIVES, NEWEST, Archive, unpack
from .layout import (
    BASE,
    HOST,
    PACK,
    PACK_NAME,
    VENV,
    comfy_folder,
    is_link,
    link_folder,
    page_folder,
    remove_link,
    venv_python,
)
from .pip import log_file, pip, run_logged
from .report import Failure, say

# torchaudio ends at 2.11.0 and refuses a torch of another CUDA version, so the three go together.
MATCHED_SET = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0", "torchsde")
TEST_TOOLS = (
    "pytest",
    "pytest-xdist",
    "playwright",
    "scikit-image",
    "diffusers",
    "hypothesis",
    "ruff",
    "mypy",
    "comfy-cli",
    "comfy-test",
)
CONSTRAINTS = Path(__file__).with_name("constraints.txt")
COMFY = comfy_folder(NEWEST)
MUST_IMPORT = (
    "torch",
    "torchvision",
    "torchaudio",
    "torchsde",
    "aiohttp",
    "av",
    "transformers",
    "safetensors",
    "pytest",
    "xdist",
    "playwright.sync_api",
    "skimage",
    "diffusers",
    "hypothesis",
    "ruff",
    "mypy",
    "comfy_cli",
    "comfy_test",
)
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
    elif not _is_chosen(COMFY):
        _unpacked(ARCHIVES[NEWEST], COMFY)
    _make_environment()
    for name in BASE_FOLDERS:
        (BASE / name).mkdir(parents=True, exist_ok=True)
    link_folder(BASE / "custom_nodes" / PACK_NAME, PACK)


def make_other_host(version: str) -> None:
    """Unpack another version of ComfyUI and its own page below `.host/hosts`; both run in the environment
    of the newest.

    raises: Failure in one sentence
    """
    if version not in ARCHIVES:
        raise Failure(f"there is no ComfyUI {version} to test with; these are: {', '.join(ARCHIVES)}")
    _unpacked(ARCHIVES[version], comfy_folder(version))
    _own_page(version)


def _own_page(version: str) -> None:
    requirements = (comfy_folder(version) / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = next(line for line in requirements if line.startswith("comfyui-frontend-package"))
    folder = page_folder(comfy_folder(version))
    if not _is_stamped(folder, wanted):
        _remove(folder)
        pip(
            venv_python(),
            ["install", "--no-deps", "--target", str(folder), wanted],
            f"the page of ComfyUI {version} could not be downloaded",
        )
        _stamp(folder, wanted)


def _unpacked(archive: Archive, folder: Path) -> None:
    if _is_stamped(folder, archive.sha256):
        return
    part = folder.with_name(folder.name + ".part")
    _remove(part)
    part.parent.mkdir(parents=True, exist_ok=True)
    unpack(archive, part)
    _remove(folder)
    part.rename(folder)
    _stamp(folder, archive.sha256)


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
            raise Failure(f"the environment in {VENV} does not work: see the end of {log_file()}")
    _stamp(VENV, wanted)


def _new_environment() -> None:
    say("making a virtual environment")
    _remove(VENV)
    if run_logged([sys.executable, "-m", "venv", str(VENV)]) != 0:
        raise Failure(
            f"{sys.executable} cannot make a virtual environment (on Debian, install python3-venv "
            f"first): see the end of {log_file()}"
        )


def _install() -> None:
    say("installing what ComfyUI needs: about 6 GB, three minutes with a warm package cache")
    requirements = [part for file in (COMFY, PACK) for part in ("-r", str(file / "requirements.txt"))]
    pip(
        venv_python(),
        ["install", *_constraints(), *MATCHED_SET, *requirements, *TEST_TOOLS],
        "pip could not install what ComfyUI needs",
    )


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
    return python.is_file() and run_logged([str(python), "-c", code]) == 0


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
