"""What ruff (with its security rules) and mypy say, and what the registry of ComfyUI would refuse."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from published import published_files

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ("smooth_lora", "nodes", "__init__.py", "install.py")
TYPED = ("--explicit-package-bases", "--namespace-packages", "--no-error-summary", "smooth_lora")
# Refused by the syntax level of the community's test tool: a device must never be named, layers are the host's.
LITERALS = re.compile(r"""\.cuda\(|\.to\(["']cuda|torch\.autocast\(|"""
                      r"""\bnn\.(Linear|Conv\dd|LayerNorm|GroupNorm|Embedding)\(""")


def run(*command: str) -> str:
    """What a tool complains about; empty if nothing."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, stdin=subprocess.DEVNULL, check=False, text=True,
                          capture_output=True, env={**os.environ, "MYPYPATH": str(ROOT)})
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_ruff():
    assert run("ruff", "check", "--no-cache", ".") == ""


def test_the_rules_of_the_registry():
    assert run("ruff", "check", "--no-cache", "--isolated", "--select", "S102,S307,E702", *PUBLISHED) == ""


def test_mypy_on_the_core(tmp_path):
    assert run("mypy", "--cache-dir", str(tmp_path), *TYPED) == ""


SOURCES = [ROOT / file for file in published_files() if file.suffix == ".py"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_is_published_names_no_device_and_makes_no_layers(path):
    assert LITERALS.findall(path.read_text(encoding="ascii")) == []  # ASCII: what every console can print


def test_the_published_folder_has_what_the_registry_wants():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for field in ('name = "', 'version = "', 'license = "', "[project.urls]", 'Repository = "', "[tool.comfy]",
                  'PublisherId = "', 'DisplayName = "'):
        assert field in project
    assert re.search(r'^version = "\d+\.\d+\.\d+"$', project, re.MULTILINE)
    name = re.search(r'^name = "([^"]+)"$', project, re.MULTILINE).group(1)
    assert len(name) < 100 and "comfyui" not in name.lower() and name[0].isalpha()
    published = {file.as_posix() for file in published_files()}
    assert {"LICENSE", "README.md", "pyproject.toml", "requirements.txt", "__init__.py", "SECURITY.md"} <= published
