"""The eight wires of a walk are spelled out in one module; everything else passes its record on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WIRES = {"guider", "sampler", "sigmas", "noise", "latent", "latent_image", "walk", "vae", "frames_per_batch"}
MANY = 6
HOME = "nodes/walks/walk_wires.py"


def spelled_out(tree: ast.AST, inside: str = "") -> Iterator[tuple[int, list[str]]]:
    """Line and names of all that names many wires at once: parameters of a function, keywords of a call, keys of a
    dict, a tuple or list of names, fields of a class. Not what hosts call by these names (a node's execute and its
    schema), and not a call that makes the record."""
    for item in ast.iter_child_nodes(tree):
        name = item.name if isinstance(item, (ast.FunctionDef, ast.ClassDef)) else inside
        if name not in ("execute", "define_schema"):
            names = named_by(item)
            if len(WIRES.intersection(names)) >= MANY:
                yield item.lineno, names
            yield from spelled_out(item, name)


def named_by(item: ast.AST) -> list[str]:
    if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        arguments = item.args
        return [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    if isinstance(item, ast.Call) and getattr(item.func, "id", "") != "WalkWires":
        return [keyword.arg for keyword in item.keywords if keyword.arg]
    if isinstance(item, ast.Dict):
        return [key.value for key in item.keys if isinstance(key, ast.Constant)]
    if isinstance(item, (ast.Tuple, ast.List, ast.Set)):
        return [
            getattr(entry, "value", getattr(entry, "id", None))
            for entry in item.elts
            if isinstance(entry, (ast.Constant, ast.Name))
        ]
    if isinstance(item, ast.ClassDef):
        return [
            field.target.id
            for field in item.body
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        ]
    return []


def test_one_module_spells_them_out():
    files = [path for floor in ("nodes", "smooth_lora") for path in sorted((ROOT / floor).rglob("*.py"))]
    found = {
        path.relative_to(ROOT).as_posix(): names
        for path in files
        for names in spelled_out(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert list(found) == [HOME], found


@pytest.mark.parametrize(
    "code",
    [
        "def render(guider, sampler, sigmas, noise, *, latent, walk): pass",
        "class Job:\n guider: int\n sampler: int\n sigmas: int\n noise: int\n walk: int\n vae: int",
        "render(guider=1, sampler=2, sigmas=3, noise=4, walk=5, vae=6)",
        "wires = {'guider': 1, 'sampler': 2, 'sigmas': 3, 'noise': 4, 'latent_image': 5, 'walk': 6}",
        "names = ('guider', 'sampler', 'sigmas', 'noise', 'latent', 'walk')",
    ],
)
def test_it_would_be_seen(code):
    assert len(list(spelled_out(ast.parse(code)))) == 1


@pytest.mark.parametrize(
    "code",
    [
        "def execute(cls, guider, sampler, sigmas, noise, latent_image, walk): pass",
        "WalkWires(guider=1, sampler=2, sigmas=3, noise=4, walk=5, vae=6)",
        "def render(guider, sampler, sigmas, noise, walk): pass",
    ],
)
def test_it_is_no_false_alarm(code):
    assert not list(spelled_out(ast.parse(code)))
