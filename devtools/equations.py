"""The table of equations in CONTRIBUTING.md, made from the docstrings of the functions that compute them.

    python -m devtools.equations            # writes the table
    python -m devtools.equations --print    # shows it

A row names a module and a function; file and source are read from the code, so that neither can be out of date.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from .layout import PACK

DOCUMENT = PACK / "CONTRIBUTING.md"
BEGIN, END = "<!-- equations: made by `python -m devtools.equations` -->", "<!-- end of equations -->"
# Equation -> module:function, or module:'row' for the row of a table whose `source` says where a method is from.
EQUATIONS = {
    "Spherical interpolation (slerp)": "arc:slerp_weights",
    "Spherical spline": "spline:SphericalSpline",
    "DDIM inversion": "plain:invert_ddim",
    "O-BELM, exact inversion": "exact:invert_exact",
    "Anderson mixing, fixed-point inversion": "fixed_point:_anderson_mix",
    "Null-text inversion": "null_text:optimise_nulls",
    "Negative-prompt inversion": "methods:'negative_prompt'",
    "Proximal guidance": "anchored:proximal",
    "Direct inversion": "anchored:replay_direct",
    "Edit-friendly inversion": "encoders:edit_friendly_path",
    "DPM-Encoder": "encoders:dpm_encoder_path",
    "SSIM": "quality:ssim",
    "Whitening of noise": "whiteness:whiten",
    "Step-wise variation regularisation (SVR)": "variation:step_variation",
    "First-order gradient of SVR": "estimators:_first_order",
    "ISTD": "smoothness:score",
}


def equations_table(core: Path = PACK / "smooth_lora") -> str:
    """Returns the table as Markdown.

    core:   folder of the modules
    raises: LookupError for a module, a function or a source that does not exist
    """
    lines = ["| Equation | File | Function | Source |", "|---|---|---|---|"]
    for equation, place in EQUATIONS.items():
        stem, name = place.split(":")
        path = module_path(core, stem)
        link = path.relative_to(core.parent).as_posix()
        source = source_of(ast.parse(path.read_text(encoding="utf-8")), name)
        cells = (equation, f"[{link}]({link})", f"`{name}`", source.replace("|", r"\|"))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def module_path(core: Path, stem: str) -> Path:
    """Returns the only module of a name, in whatever room it lies.

    raises: LookupError if there is none, or more than one
    """
    paths = sorted(core.rglob(f"{stem}.py"))
    if len(paths) != 1:
        raise LookupError(f"{len(paths)} modules are called {stem}.py, and the table of equations needs one")
    return paths[0]


def source_of(tree: ast.Module, name: str) -> str:
    """Returns the first sentence of the source of a function or class, or of a row of a table.

    name:   of the function or class, whose docstring may leave the source to the module's; a row's in single quotes
    raises: LookupError if it does not exist or has no source
    """
    if name.startswith("'"):
        text = _row_source(tree, name.strip("'"))
    else:
        text = _docstring_source(_definition(tree, name))
        if not text or text.startswith("see the module"):
            text = _docstring_source(tree)
    if not text:
        raise LookupError(f"{name} has no `source:` in its docstring, nor has its module")
    # Not at the dot of an initial.
    return re.split(r"; |(?<!\b[A-Z])\. (?=[A-Z])", text)[0].rstrip(".")


def _definition(tree: ast.Module, name: str) -> ast.FunctionDef | ast.ClassDef:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return node
    raise LookupError(f"there is no function or class {name}")


def _docstring_source(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """Returns the last `source:` of a docstring in one line: an argument may have that name, too."""
    fields = re.findall(r"^ *source: +(.+(?:\n {2,}.+)*)", ast.get_docstring(node) or "", re.MULTILINE)
    return " ".join(fields[-1].split()) if fields else ""


def _row_source(tree: ast.Module, row: str) -> str:
    """Returns the `source` of a call whose first argument is the row's name."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and call.args and _text(call.args[0]) == row:
            return next((_text(keyword.value) for keyword in call.keywords if keyword.arg == "source"), "")
    raise LookupError(f"there is no row {row!r}")


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def with_table(document: str, table: str) -> str:
    """Returns a document with the table between its two marks.

    raises: LookupError if a mark is missing
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise LookupError(f"the marks of the table are missing: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


if __name__ == "__main__":
    if "--print" in sys.argv[1:]:
        print(equations_table())
    else:
        DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8"), equations_table()), encoding="utf-8")
