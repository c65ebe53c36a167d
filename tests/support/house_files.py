"""The pack's Python files, and who imports whom, for tests of the house itself."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = {".git", ".host", "demo-out", "__pycache__", ".venv"}


def python_files() -> Iterator[Path]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in OUTSIDE]
        yield from (Path(folder) / name for name in files if name.endswith(".py"))


FILES = sorted(python_files())


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """(absolute dotted name from the pack's root for relative imports, or the plain name; statement)"""
    yield from imports_of(tree_of(path), name_of(path))


def imports_of(tree: ast.Module, name: str) -> Iterator[tuple[str, ast.stmt]]:
    """The same of a tree that lies under a name, such as nodes/host/wires.py."""
    package = name.split("/")[:-1]
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Import):
            yield from ((alias.name, statement) for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            if statement.level:
                base = package[: len(package) - statement.level + 1]
                stem = ".".join([*base, *([statement.module] if statement.module else [])])
                # `from . import a` names modules, `from .a import b` names one module and things in it.
                inside = [f"{stem}.{alias.name}".strip(".") for alias in statement.names]
                names = [stem] if statement.module else inside
                yield from (("." + found, statement) for found in names)
            else:
                yield statement.module or "", statement


def select(*folders: str) -> list[Path]:
    return [path for path in FILES if name_of(path).startswith(folders)]
