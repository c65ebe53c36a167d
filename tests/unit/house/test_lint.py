"""What ruff (with its security rules) and mypy say, and what the registry of ComfyUI would refuse."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from published import copy_published, published_files

from devtools.types import check_types

ROOT = Path(__file__).resolve().parents[3]
TOOLS = Path(sys.executable).parent


def run(*command: str) -> str:
    """What a tool complains about; empty if nothing."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        check=False,
        text=True,
        capture_output=True,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_ruff():
    assert run("ruff", "check", "--no-cache", ".") == ""


def test_format():
    assert run("ruff", "format", "--no-cache", "--check", ".") == ""


def test_types():
    assert check_types() == ""


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    return copy_published(tmp_path_factory.mktemp("published"))


def test_the_registry_s_own_validation(published, tmp_path):
    """comfy node validate; it ends with 0 whatever it finds."""
    done = subprocess.run(
        [str(TOOLS / "comfy"), "--skip-prompt", "--no-enable-telemetry", "node", "validate"],
        cwd=published,
        env={**os.environ, "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        check=False,
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0 and "All validation checks passed" in done.stdout
    assert "warning" not in done.stdout.lower()


def test_the_static_levels_of_the_community_s_tests(published):
    """Its syntax level (no device named, no layers of one's own) and what it asks of the page's files."""
    done = subprocess.run(
        [str(TOOLS / "comfy-test"), "lint", "--strict", str(published)],
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[SYNTAX] PASSED" in done.stdout and "[JAVASCRIPT] PASSED" in done.stdout


@pytest.mark.parametrize("path", [file for file in published_files() if file.suffix == ".py"], ids=Path.as_posix)
def test_what_is_published_is_ascii(path):
    assert (ROOT / path).read_text(encoding="ascii")  # what every console can print


def test_the_published_folder_has_what_the_registry_wants():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for field in (
        'name = "',
        'version = "',
        'license = "',
        "[project.urls]",
        'Repository = "',
        "[tool.comfy]",
        'PublisherId = "',
        'DisplayName = "',
    ):
        assert field in project
    assert re.search(r'^version = "\d+\.\d+\.\d+"$', project, re.MULTILINE)
    name = re.search(r'^name = "([^"]+)"$', project, re.MULTILINE).group(1)
    assert len(name) < 100 and "comfyui" not in name.lower() and name[0].isalpha()
    published = {file.as_posix() for file in published_files()}
    assert {"LICENSE", "README.md", "pyproject.toml", "requirements.txt", "__init__.py", "SECURITY.md"} <= published
