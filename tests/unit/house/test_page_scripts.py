"""The page's scripts: TypeScript agrees with their types, Node's test runner with their functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from devtools import node

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = sorted(
    path
    for ending in ("*.js", "*.mjs")
    for path in (ROOT / "web").rglob(ending)
    if path.relative_to(ROOT / "web").parts[0] != "vendor"
)


def test_types():
    done = node.check_types()
    assert (done.returncode, done.stdout) == (0, "")


def test_functions():
    done = node.run_scripts()
    assert done.returncode == 0, done.stdout


def test_the_search_found_the_scripts():
    assert ROOT / "web" / "smooth_diffusion.js" in SCRIPTS and len(SCRIPTS) > 20


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_script_is_checked(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("// @ts-check\n")
    assert not any(escape in text for escape in ("@ts-ignore", "@ts-nocheck", "@ts-expect-error", "{any}", "any>"))


def test_without_node_the_run_fails_in_one_sentence(monkeypatch):
    monkeypatch.setattr(node.shutil, "which", lambda name: None)
    said = []
    assert node.check_page(said.append) == 1
    assert said[-1] == (
        "the page's scripts need Node 18 or newer with npm, found none; install it from nodejs.org or "
        "with the system's packages nodejs and npm; this run counts as failed"
    )


def test_an_old_node_is_named(monkeypatch):
    monkeypatch.setattr(node, "_run", lambda command: node.subprocess.CompletedProcess(command, 0, "v16.20.2\n"))
    with pytest.raises(node.Failure, match="need Node 18 or newer with npm, found v16.20.2; install it"):
        node.run_scripts()
