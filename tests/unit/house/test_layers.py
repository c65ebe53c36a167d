"""The floors of the house: imports only point down, and no file does what a pack must not do."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from house_files import FILES, ROOT, imports, name_of, select, tree_of

METHODS_MAY_IMPORT = {"torch", "numpy", "safetensors", "PIL", *sys.stdlib_module_names} - {"logging"}
HOST = {
    "app",
    "comfy",
    "comfy_api",
    "comfy_api_nodes",
    "comfy_config",
    "comfy_execution",
    "comfy_extras",
    "execution",
    "folder_paths",
    "latent_preview",
    "node_helpers",
    "nodes",
    "protocol",
    "server",
    "utils",
}
NEVER = {"aiohttp", "ctypes", "http", "marshal", "pickle", "requests", "shelve", "socket", "subprocess", "urllib"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "breakpoint"}
FORBIDDEN_METHODS = {"cuda", "system", "popen", "execfile"}


def published() -> list[Path]:
    """What runs in a user's ComfyUI."""
    return [*select("smooth_lora/", "nodes/"), ROOT / "__init__.py"]


def test_the_search_found_the_house():
    found = {name_of(path) for path in FILES}
    assert {"__init__.py", "install.py", "nodes/__init__.py", "nodes/host/api.py", "devtools/server.py"} <= found
    assert [name for name in found if name.startswith("smooth_lora/")]


@pytest.mark.parametrize("path", select("smooth_lora/"), ids=name_of)
def test_methods_import_no_host_and_no_nodes(path: Path):
    for name, statement in imports(path):
        if name.startswith("."):
            assert name.startswith(".smooth_lora"), f"{name_of(path)}:{statement.lineno} imports {name}"
            continue
        top = name.split(".")[0]
        assert top in METHODS_MAY_IMPORT, f"{name_of(path)}:{statement.lineno} imports {name}"


@pytest.mark.parametrize("path", published(), ids=name_of)
def test_node_files_leave_the_host_to_their_rooms(path: Path):
    """A file of nodes has schemas and short calls; the host's objects are the business of the files beside it."""
    may = name_of(path).startswith("nodes/") and not path.stem.endswith("nodes") and path.parent.name != "nodes"
    for name, statement in imports(path):
        if name.split(".")[0] in HOST:
            assert may, f"{name_of(path)}:{statement.lineno} imports the host's {name}"


@pytest.mark.parametrize("path", published(), ids=name_of)
def test_only_the_root_imports_nodes(path: Path):
    inside = name_of(path).startswith("nodes/") or path == ROOT / "__init__.py"
    for name, statement in imports(path):
        if name.startswith(".nodes"):
            assert inside, f"{name_of(path)}:{statement.lineno} imports {name}"
        # An absolute name would fetch the host's module of that name, or nothing in a user's installation.
        assert name.split(".")[0] not in {"smooth_lora", "devtools", "demo", "tests", "benchmarks", "tools"}, (
            f"{name_of(path)}:{statement.lineno} imports {name} absolutely"
        )
        assert not name.startswith((".devtools", ".demo", ".tests", ".benchmarks", ".tools")), (
            f"{name_of(path)}:{statement.lineno} imports {name}, which the published pack does not have"
        )


@pytest.mark.parametrize("path", [*select("devtools/"), ROOT / "install.py"], ids=name_of)
def test_the_commands_need_only_python(path: Path):
    for name, statement in imports(path):
        top = name.split(".")[0]
        # in_process.py is for whoever runs inside the host already, and fetches it in its functions.
        in_host = path.name == "in_process.py" and statement.col_offset > 0 and top in HOST | {"torch"}
        assert not top or top in sys.stdlib_module_names or in_host, (
            f"{name_of(path)}:{statement.lineno} imports {name}"
        )


@pytest.mark.parametrize("path", select("tools/"), ids=name_of)
def test_tools_load_the_pack_and_the_host_by_the_hosts_loader(path: Path):
    """And only in their functions: a device is chosen before torch or the host is loaded. A config is checked by the
    core's dataclasses before the host is, so the core is imported by itself as well."""
    for name, statement in imports(path):
        top = name.split(".")[0]
        assert not name.startswith((".smooth_lora", ".nodes")) and top != "nodes", (
            f"{name_of(path)}:{statement.lineno} imports {name} past the host's loader"
        )
        assert top in {"devtools", "tools", *sys.stdlib_module_names} or statement.col_offset > 0, (
            f"{name_of(path)}:{statement.lineno} imports {name} before the config is checked"
        )


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_ascii_only(path: Path):
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        assert line.isascii(), f"{name_of(path)}:{number} is not ASCII: {line.decode(errors='replace')}"


def forbidden(call: ast.Call) -> str | None:
    """What is wrong with a call, or None."""
    function = call.func
    if isinstance(function, ast.Name) and function.id in FORBIDDEN_CALLS:
        return function.id
    if not isinstance(function, ast.Attribute):
        return None
    owner = function.value.id if isinstance(function.value, ast.Name) else ""
    if function.attr in FORBIDDEN_METHODS or (owner, function.attr) in {
        ("torch", "load"),
        ("torch", "save"),
        ("torch", "manual_seed"),
    }:
        return f"{owner}.{function.attr}"
    literals = [str(argument.value) for argument in call.args if isinstance(argument, ast.Constant)]
    if function.attr == "to" and any(value.startswith("cuda") for value in literals):
        return '.to("cuda")'
    return None


@pytest.mark.parametrize("path", published(), ids=name_of)
def test_no_forbidden_call(path: Path):
    for call in (item for item in ast.walk(tree_of(path)) if isinstance(item, ast.Call)):
        assert forbidden(call) is None, f"{name_of(path)}:{call.lineno} calls {forbidden(call)}"
    for name, statement in imports(path):
        assert name.split(".")[0] not in NEVER, f"{name_of(path)}:{statement.lineno} imports {name}"


@pytest.mark.parametrize("path", [*published(), *select("devtools/"), ROOT / "install.py"], ids=name_of)
def test_no_bare_except(path: Path):
    for item in ast.walk(tree_of(path)):
        if isinstance(item, ast.ExceptHandler):
            assert item.type is not None, f"{name_of(path)}:{item.lineno}: bare except"
            caught = {part.id for part in ast.walk(item.type) if isinstance(part, ast.Name)}
            if caught & {"Exception", "BaseException"}:
                assert any(isinstance(part, ast.Raise) for part in ast.walk(item)), (
                    f"{name_of(path)}:{item.lineno} swallows every error"
                )
