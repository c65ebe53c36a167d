"""A method of inversion is known by its name in one place, the table: nothing else compares, lists or looks it up."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from smooth_lora.inversion.methods import METHODS

ROOT = Path(__file__).resolve().parents[3]
TABLE = ROOT / "smooth_lora/inversion/methods.py"
FILES = sorted(path for floor in ("smooth_lora", "nodes") for path in (ROOT / floor).rglob("*.py") if path != TABLE)
# Words that other families use as well: as names of methods they count where inversions are dealt with.
COMMON = {"exact", "direct", "proximal"}
LOOKS_UP = {"get", "pop", "index", "count", "endswith", "removesuffix"}
LOOKS_AT_THE_START = {"startswith", "removeprefix"}


def test_the_search_looks_at_the_house():
    assert TABLE.is_file() and len(FILES) > 100
    assert set(METHODS) > COMMON


def deals_with_inversions(path: str, tree: ast.Module) -> bool:
    """True for a file in a room of inversion, and for one that imports from it."""
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return "inversion/" in path or any("inversion" in name.split(".") for name in imported)


def decisive(tree: ast.Module) -> Iterator[ast.expr]:
    """What decides something: sides of comparisons, members of collections, keys, cases, what is looked up."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            yield from [node.left, *node.comparators]
        elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            yield from node.elts
        elif isinstance(node, ast.Dict):
            yield from (key for key in node.keys if key is not None)
        elif isinstance(node, ast.Subscript):
            yield node.slice
        elif isinstance(node, ast.MatchValue):
            yield node.value
        elif isinstance(node, ast.Call):
            yield from arguments_of(node, LOOKS_UP | LOOKS_AT_THE_START)
            yield from (keyword.value for keyword in node.keywords if keyword.arg == "default")


def arguments_of(call: ast.Call, methods: set[str]) -> list[ast.expr]:
    """The arguments of a call of one of these methods."""
    return call.args if isinstance(call.func, ast.Attribute) and call.func.attr in methods else []


def other_words(tree: ast.Module) -> set[int]:
    """Members of __all__, which are names of functions, and of search_aliases, which users type into a search box."""
    lists = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
    ]
    lists += [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "search_aliases"]
    return {id(part) for words in lists for part in ast.walk(words)}


def named_methods(path: str, source: str) -> list[str]:
    """Where a file decides by a method's name."""
    tree = ast.parse(source)
    names = set(METHODS) if deals_with_inversions(path, tree) else set(METHODS) - COMMON
    other = other_words(tree)
    starts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for part in arguments_of(node, LOOKS_AT_THE_START)
    }
    found = []
    for part in decisive(tree):
        text = part.value if isinstance(part, ast.Constant) else None
        if not isinstance(text, str) or id(part) in other:
            continue
        begins = id(part) in starts and len(text) > 3 and any(name.startswith(text) for name in names)
        if text in names or begins:
            found.append(f"{path}:{part.lineno} decides by the method's name {text!r}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_decides_by_a_methods_name(path: Path):
    found = named_methods(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    assert not found, "\n".join(["", *found])


ROOM = "nodes/inversion/x.py"


@pytest.mark.parametrize(
    ("path", "source", "complains"),
    [
        (ROOM, "if method == 'exact': pass", True),
        (ROOM, "if 'null_text_dual' != method: pass", True),
        (ROOM, "if method in ('ddim', other): pass", True),
        (ROOM, "if method in {'direct'}: pass", True),
        (ROOM, "KEPT = ['edit_friendly']", True),
        (ROOM, "USED = {'proximal': 1}", True),
        (ROOM, "x = table['fixed_point']", True),
        (ROOM, "if method.startswith('null_text'): pass", True),
        (ROOM, "if method.startswith('null'): pass", True),
        (ROOM, "n = {}.get('dpm_encoder', 0)", True),
        (ROOM, "match method:\n    case 'exact': pass", True),
        (ROOM, "options(default='exact')", True),
        (ROOM, "raise ValueError('take exact or edit_friendly')", False),
        (ROOM, "x = 'exact'", False),
        (ROOM, "if method == 'null text': pass", False),
        (ROOM, "Schema(search_aliases=['ddim'])", False),
        ("smooth_lora/x/y.py", "if estimator == 'exact': pass", False),
        ("smooth_lora/x/y.py", "from ..inversion.methods import METHODS\nif method == 'exact': pass", True),
        ("smooth_lora/x/y.py", "if method == 'edit_friendly': pass", True),
        ("smooth_lora/__init__.py", "from .inversion.methods import METHODS\n__all__ = ['proximal']", False),
    ],
)
def test_a_name_that_decides_is_found(path: str, source: str, complains: bool):
    assert bool(named_methods(path, source)) == complains
