"""The rooms of the house: how much fits into one, which may lead to which, and how things in them are called."""

from __future__ import annotations

import ast

import house_rules
import pytest
from house_files import ROOT, name_of, select, tree_of

FLOORS = ("smooth_lora", "nodes")
TREES = {name_of(path): tree_of(path) for path in select("smooth_lora/", "nodes/")}
COMMANDS = {
    name_of(path): tree_of(path)
    for path in [*select("devtools/", "tools/", "benchmarks/", "demo/"), ROOT / "install.py"]
}


def floor_of(floor: str) -> dict[str, ast.Module]:
    return {name: tree for name, tree in TREES.items() if name.startswith(floor + "/")}


def parsed(**sources: str) -> dict[str, ast.Module]:
    """Made-up files of a floor, by room and name with __ for the slash."""
    return {f"floor/{name.replace('__', '/', 1)}.py": ast.parse(source) for name, source in sources.items()}


def listed(complaints: list[str]) -> str:
    """Complaints for the report of a test that fails: pytest would cut a list."""
    return "\n".join(["", *complaints])


def test_no_folder_is_crowded():
    found = house_rules.crowded_folders(map(name_of, select("smooth_lora/", "nodes/", "tests/")))
    assert not found, listed(found)


def test_a_crowded_folder_is_found():
    names = [f"floor/room/file{number}.py" for number in range(15)]
    assert house_rules.crowded_folders(names) == ["floor/room holds 15 Python files"]
    assert house_rules.crowded_folders(names[:14]) == []


@pytest.mark.parametrize("floor", FLOORS)
def test_rooms_form_no_circle(floor):
    assert house_rules.room_circle(floor, floor_of(floor)) == []


def test_a_circle_is_found():
    one, other = "from ..b.two import x", "def f():\n    from .. import a"
    assert house_rules.room_circle("floor", parsed(a__one=one, b__two="", __init__="from .a.one import x")) == []
    (circle,) = house_rules.room_circle("floor", parsed(a__one=one, b__two=other))
    assert set(circle.split(" -> ")) == {"a", "b"}
    assert house_rules.room_circle("floor", parsed(a__one="from ..b import y", b="from .a.one import x"))


def test_no_file_is_long():
    lines = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in select("smooth_lora/", "nodes/")
    }
    found = [f"{name} has {count} lines" for name, count in lines.items() if count > house_rules.LINES_OF_A_FILE]
    assert not found, listed(found)


def test_no_function_is_long():
    found = house_rules.long_functions(TREES)
    assert not found, listed(found)


def test_a_long_function_is_found():
    body = "\n" + "    x = 1\n" * 40
    long = {f"a__{name}": f"class A:\n  def {name}(self,\n    a):" + body for name in ("work", "define_schema")}
    assert house_rules.long_functions(parsed(**long)) == ["floor/a/work.py: A.work has 42 lines"]
    inputs = "def execute(\n" + "    a,\n" * 40 + "):"
    assert house_rules.long_functions(parsed(a=inputs + body)) == []
    assert house_rules.long_functions(parsed(a=inputs + body + "    y = 2")) == ["floor/a.py: execute has 41 lines"]


def test_no_function_takes_many_parameters_by_position():
    found = house_rules.many_parameters(TREES)
    assert not found, listed(found)


@pytest.mark.parametrize(
    ("source", "complains"),
    [
        ("def f(a, b, c, d): pass", False),
        ("def f(a, b, c, d, /, e): pass", True),
        ("def f(a, b, c, d, *, e): pass", False),
        ("def _f(a, b, c, d, e): pass", False),
        ("class A:\n    def f(self, a, b, c, d): pass", False),
        ("class A:\n    def f(self, a, b, c, d, e): pass", True),
        ("class A:\n    @staticmethod\n    def f(a, b, c, d, e): pass", True),
        ("class A:\n    def sample(self, a, b, c, d, e): pass", False),
        ("def sample(a, b, c, d, e): pass", True),
        ("class A:\n    def __init__(self, a, b, c, d, e): pass", False),
        ("def f():\n    def g(a, b, c, d, e): pass", False),
    ],
)
def test_many_parameters_are_found(source, complains):
    assert bool(house_rules.many_parameters(parsed(a=source))) == complains


@pytest.mark.parametrize("floor", FLOORS)
def test_a_public_name_has_one_home_on_its_floor(floor):
    found = house_rules.shared_names(floor_of(floor))
    assert not found, listed(found)


def test_a_name_with_two_homes_is_found():
    two = parsed(a__one="def table(): pass\n_A = log = 1\nB: int = 2", b__two="table, C = 1, 2\n_A = log = 1")
    assert house_rules.shared_names(two) == ["table is defined in floor/a/one.py and floor/b/two.py"]
    assert house_rules.shared_names(parsed(a="from .b import table", b="class table: pass")) == []


def test_files_are_replaced_and_flushed_in_one_module():
    assert house_rules.replacing_files(TREES) == ["smooth_lora/files/whole.py"]


@pytest.mark.parametrize(
    ("source", "complains"),
    [
        ("os.replace(a, b)", True),
        ("os.fsync(1)", True),
        ("draft.replace(path)", True),
        ("Path(a).rename(b)", True),
        ("'a'.replace('b', 'c')", False),
        ("dataclasses.replace(job, size=1)", False),
        ("replace(job, size=1)", False),
    ],
)
def test_a_second_module_that_replaces_files_is_found(source, complains):
    assert bool(house_rules.replacing_files(parsed(a=source))) == complains


def test_no_docstring_is_a_riddle():
    found = house_rules.riddles({**TREES, **COMMANDS})
    assert not found, listed(found)


@pytest.mark.parametrize(
    ("source", "complains"),
    [
        ('"""What it is."""', True),
        ('class A:\n    """Whether it is."""', True),
        ('def f():\n    def _g():\n        """\n        Of it; 0 without.\n        """', True),
        ('def f():\n    """Whatever it is, it is returned."""', False),
        ('"""Offsets of rows."""', False),
        ("x = 1", False),
    ],
)
def test_a_riddle_is_found(source, complains):
    assert bool(house_rules.riddles(parsed(a=source))) == complains


def test_everything_public_in_the_core_says_what_it_is():
    found = house_rules.unsaid(floor_of("smooth_lora"))
    assert not found, listed(found)


@pytest.mark.parametrize(
    ("source", "complains"),
    [
        ("def f(): pass", True),
        ('def f():\n    """raises: ValueError"""', True),
        ("def _f(): pass", False),
        ('class A:\n    """A thing."""\n    def f(self): pass', True),
        ('class A:\n    """last: [H, W]"""', True),
        ('class A:\n    """A thing."""\n    def __init__(self): pass', False),
        ('def f():\n    """Returns one; see above: it is 1."""\n    def g(): pass', False),
    ],
)
def test_what_says_nothing_is_found(source, complains):
    assert bool(house_rules.unsaid(parsed(a=source))) == complains
