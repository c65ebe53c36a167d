"""Checks the page's scripts: their types with TypeScript, their functions in Node's own test runner.

python -m devtools.node
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence

from .layout import HOST, PACK
from .report import Failure, say

TYPESCRIPT = "5.9.3"
OLDEST_NODE = 18
TESTS = PACK / "tests" / "js"
TOOLS = HOST / "node"
COMPILER = TOOLS / "node_modules" / "typescript"


def check_page(say: Callable[[str], None]) -> int:
    """Checks types, then runs the tests; 0 when nothing is wrong, 1 also where there is no Node."""
    try:
        say("the types of the page's scripts")
        types = check_types()
        print(types.stdout, end="", flush=True)
        say("the tests of the page's scripts")
        tests = run_scripts()
        print(tests.stdout, end="", flush=True)
    except Failure as error:
        say(f"{error}; this run counts as failed")
        return 1
    return int(bool(types.returncode or tests.returncode))


def check_types() -> subprocess.CompletedProcess[str]:
    """Checks the types of every script of the page.

    raises: Failure when Node is missing or TypeScript cannot be installed
    """
    node = _node()
    if _installed() != TYPESCRIPT:
        _install()
    return _run([node, str(COMPILER / "bin" / "tsc"), "--project", str(TESTS / "tsconfig.json")])


def run_scripts() -> subprocess.CompletedProcess[str]:
    """Runs the tests in tests/js.

    raises: Failure when Node is missing
    """
    return _run([_node(), "--test", *(str(file) for file in sorted(TESTS.glob("*.test.mjs")))])


def _node() -> str:
    node = shutil.which("node")
    version = _run([node, "--version"]).stdout.strip() if node else "none"
    number = version.removeprefix("v").split(".")[0]
    if node is None or not number.isdigit() or int(number) < OLDEST_NODE:
        raise Failure(
            f"the page's scripts need Node {OLDEST_NODE} or newer with npm, found {version}; install it from "
            "nodejs.org or with the system's packages nodejs and npm"
        )
    return node


def _installed() -> str:
    """Returns the version of TypeScript that is there; "" for none."""
    try:
        return str(json.loads((COMPILER / "package.json").read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError):
        return ""


def _install() -> None:
    """Installs TypeScript, and nothing that would have to be committed."""
    npm = shutil.which("npm")
    if npm is None:
        raise Failure(
            "npm is missing, which installs TypeScript; install it from nodejs.org or with the system's package npm"
        )
    TOOLS.mkdir(parents=True, exist_ok=True)
    done = _run(
        [
            npm,
            "install",
            "--no-package-lock",
            "--no-save",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(TOOLS),
            f"typescript@{TYPESCRIPT}",
        ]
    )
    if done.returncode or _installed() != TYPESCRIPT:
        lines = done.stdout.strip().splitlines()
        raise Failure(f"TypeScript {TYPESCRIPT} could not be installed: {lines[0] if lines else 'no reason given'}")


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command without a terminal; its output and complaints are in stdout."""
    return subprocess.run(
        command,
        cwd=PACK,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
        text=True,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )


if __name__ == "__main__":
    sys.exit(check_page(say))
