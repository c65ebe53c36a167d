"""The table of equations in CONTRIBUTING.md is what the code says, and a row that leads nowhere is found."""

from __future__ import annotations

import ast

import pytest

from devtools.equations import BEGIN, DOCUMENT, END, EQUATIONS, equations_table, module_path, source_of, with_table

MODULE = ast.parse('''"""A module.

source: The Paper, arXiv 0000.00000; a deviation
"""

def own(source):
    """Returns one.

    source:  [R] bool, an argument of that name
    returns: 1
    source:  Another et al., J. Proc. 12, equation 1 with x | y
             and a second line. A deviation that is left out
    """

def left():
    """Returns two.

    source: see the module; the first step is another
    """

class Empty:
    """A class."""

ROWS = (Method("first", own, source="Row, arXiv 1111.11111. A deviation"), Method("second"))
''')


def test_the_document_has_the_table_that_the_code_makes():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_table(text, equations_table()) == text, "run python -m devtools.equations"


def test_every_equation_is_named_once_and_has_a_row():
    assert len(EQUATIONS) == 16
    assert [line.split(" | ")[0] for line in equations_table().splitlines()[2:]] == [f"| {name}" for name in EQUATIONS]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("own", "Another et al., J. Proc. 12, equation 1 with x | y and a second line"),
        ("left", "The Paper, arXiv 0000.00000"),
        ("Empty", "The Paper, arXiv 0000.00000"),
        ("'first'", "Row, arXiv 1111.11111"),
    ],
)
def test_a_source_is_the_first_sentence_of_its_field(name, source):
    assert source_of(MODULE, name) == source


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("other", "there is no function or class other"),
        ("'third'", "there is no row 'third'"),
        ("'second'", "'second' has no `source:`"),
    ],
)
def test_a_row_that_leads_nowhere_is_refused(name, complaint):
    with pytest.raises(LookupError, match=complaint):
        source_of(MODULE, name)


def test_a_function_without_a_source_is_refused():
    with pytest.raises(LookupError, match="f has no `source:` in its docstring, nor has its module"):
        source_of(ast.parse('def f():\n    """Returns one."""'), "f")


def test_a_module_is_found_in_any_room_but_only_once(tmp_path):
    for room in ("a", "b"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "two.py").touch()
    (tmp_path / "a" / "one.py").touch()
    assert module_path(tmp_path, "one") == tmp_path / "a" / "one.py"
    for stem, count in (("two", 2), ("none", 0)):
        with pytest.raises(LookupError, match=f"^{count} modules are called {stem}.py"):
            module_path(tmp_path, stem)


def test_the_table_goes_between_its_marks_and_nowhere_else():
    assert with_table(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\nnew\n{END}\nb"
    with pytest.raises(LookupError, match="the marks of the table are missing"):
        with_table(f"a\n{BEGIN}\nold", "new")
