"""Rules of the house: each looks at parsed Python and returns its complaints, none where all is well."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from house_files import imports_of

Trees = Mapping[str, ast.Module]  # by name, such as nodes/host/wires.py
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Function = (ast.FunctionDef, ast.AsyncFunctionDef)

FILES_IN_A_FOLDER = 14
LINES_OF_A_FILE = 300
LINES_OF_A_FUNCTION = 40
POSITIONAL_PARAMETERS = 4
# A signature that the host dictates may take more; it lists a node's inputs, or what the host passes by position.
HOST_DICTATES = {
    "execute": "the inputs of a node's schema, passed by name",
    "sample": "a SAMPLER or a GUIDER, called by the host's samplers",
    "outer_sample": "a wrapper of the host's patcher extensions",
}
# Every module of a kind has one: the nodes of a file, the logger of a file.
IN_EVERY_FILE = {"NODES", "log"}
RIDDLES = {"What", "Whether", "How", "Where", "Which", "Of"}
FIELD = re.compile(r"\w+(, \w+)*: ")  # such as `raises: ValueError`


def definitions(tree: ast.Module) -> Iterator[tuple[str, Definition]]:
    """(dotted name, node) of every class and function, nested ones as well."""

    def inside(node: ast.AST, above: str) -> Iterator[tuple[str, Definition]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (*Function, ast.ClassDef)):
                yield above + child.name, child
                yield from inside(child, f"{above}{child.name}.")
            else:
                yield from inside(child, above)

    yield from inside(tree, "")


def public(tree: ast.Module) -> Iterator[tuple[str, Definition]]:
    """Classes, functions and methods that others may use: no part of the name is private, none is inside a function."""
    functions = {name for name, node in definitions(tree) if isinstance(node, Function)}
    for name, node in definitions(tree):
        parts = name.split(".")
        if not any(part.startswith("_") for part in parts) and name.rpartition(".")[0] not in functions:
            yield name, node


def crowded_folders(names: Iterable[str]) -> list[str]:
    folders: dict[str, int] = defaultdict(int)
    for name in names:
        folders[name.rpartition("/")[0]] += 1
    return [f"{folder} holds {count} Python files" for folder, count in folders.items() if count > FILES_IN_A_FOLDER]


def room_circle(floor: str, trees: Trees) -> list[str]:
    """A circle of rooms that import each other. A file on the floor itself is a room, except its __init__."""

    def room(path: list[str]) -> str:
        return path[1] if len(path) > 1 and path[0] == floor else ""

    above: dict[str, set[str]] = defaultdict(set)
    for name, tree in trees.items():
        own = room(name.removesuffix(".py").split("/"))
        for imported, _ in imports_of(tree, name):
            other = room(imported[1:].split(".")) if imported.startswith(".") else ""
            if own and other and "__init__" not in own and own != other:
                above[own].add(other)
    try:
        TopologicalSorter(above).prepare()
    except CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


def long_functions(trees: Trees) -> list[str]:
    """A node's `define_schema` is a table and may be long; of `execute` the body counts, not the list of inputs."""
    found = []
    for name, tree in trees.items():
        for called, node in definitions(tree):
            if not isinstance(node, Function) or node.name == "define_schema":
                continue
            lines = node.end_lineno + 1 - (node.body[0] if node.name == "execute" else node).lineno
            if lines > LINES_OF_A_FUNCTION:
                found.append(f"{name}: {called} has {lines} lines")
    return found


def many_parameters(trees: Trees) -> list[str]:
    found = []
    for name, tree in trees.items():
        methods = {id(node) for item in ast.walk(tree) if isinstance(item, ast.ClassDef) for node in item.body}
        for called, node in public(tree):
            if not isinstance(node, Function) or (id(node) in methods and node.name in HOST_DICTATES):
                continue
            count = len(node.args.posonlyargs) + len(node.args.args)
            static = any(isinstance(item, ast.Name) and item.id == "staticmethod" for item in node.decorator_list)
            count -= id(node) in methods and not static
            if count > POSITIONAL_PARAMETERS:
                found.append(f"{name}: {called} takes {count} positional parameters")
    return found


def shared_names(trees: Trees) -> list[str]:
    """Public names of a floor that two of its modules define."""
    homes: dict[str, list[str]] = defaultdict(list)
    for name, tree in trees.items():
        for defined in sorted(set(_defined(tree.body))):
            if not defined.startswith("_") and defined not in IN_EVERY_FILE:
                homes[defined].append(name)
    return [f"{defined} is defined in {' and '.join(names)}" for defined, names in homes.items() if len(names) > 1]


def _defined(body: Iterable[ast.stmt]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, (*Function, ast.ClassDef)):
            yield statement.name
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            yield from (
                part.id
                for target in targets
                for part in ast.walk(target)
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            )


def replacing_files(trees: Trees) -> list[str]:
    """Modules that put a file in another's place, or flush one to the disk."""
    return [name for name, tree in trees.items() if any(map(_replaces, ast.walk(tree)))]


def _replaces(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
    # A path's `replace` takes one name, a text's two, and dataclasses' the fields by name.
    path = node.func.attr == "replace" and len(node.args) == 1 and not node.keywords
    return path or node.func.attr in ("fsync", "rename", "renames") or (owner, node.func.attr) == ("os", "replace")


def riddles(trees: Trees) -> list[str]:
    """Docstrings that begin with a question's word, or with "Of"."""
    found = []
    for name, tree in trees.items():
        for called, node in [("the module", tree), *definitions(tree)]:
            first = (ast.get_docstring(node) or "").split(maxsplit=1)
            if first and first[0].rstrip(",.:") in RIDDLES:
                found.append(f"{name}: {called} begins with {first[0]!r}")
    return found


def unsaid(trees: Trees) -> list[str]:
    """Public classes, functions and methods without a docstring, or whose docstring begins with a field."""
    found = []
    for name, tree in trees.items():
        for called, node in public(tree):
            text = ast.get_docstring(node)
            if text is None:
                found.append(f"{name}: {called} has no docstring")
            elif FIELD.match(text):
                found.append(f"{name}: {called} begins with a field instead of a sentence")
    return found
