"""Files that are there whole or not at all, and what killed processes leave."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smooth_lora.files import whole
from smooth_lora.files.whole import append_flushed, draft_of, remove_abandoned_drafts, write_text

# Writes half of a file, says so, and waits to be killed.
HALF = """
import sys, time
from pathlib import Path
from smooth_lora.files.whole import draft_of
with draft_of(Path(sys.argv[1])) as draft:
    draft.write_bytes(b"half")
    print("written", flush=True)
    time.sleep(600)
"""


def half_written(path: Path) -> subprocess.Popen:
    """A process in the middle of writing a file."""
    process = subprocess.Popen(
        [sys.executable, "-c", HALF, str(path)], cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "written\n"
    return process


def test_a_block_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "a.txt"
    write_text("first", path)
    with pytest.raises(RuntimeError, match="in the middle"), draft_of(path) as draft:
        draft.write_text("second")
        raise RuntimeError("in the middle")
    assert path.read_text() == "first" and [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with draft_of(path) as one, draft_of(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one" and len(list(tmp_path.iterdir())) == 1  # the inner block ends first


def test_the_draft_of_a_killed_process_goes_and_that_of_a_living_one_stays(tmp_path):
    process = half_written(tmp_path / "a.bin")
    try:
        remove_abandoned_drafts(tmp_path)
        assert len(list(tmp_path.iterdir())) == 1
    finally:
        process.kill()
        process.wait()
    remove_abandoned_drafts(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_asked_for_goes_when_it_is_old(tmp_path, monkeypatch):
    ours = f"{whole._machine()}-{os.getpid():x}"
    names = [
        "a.bin.0123abcd-1-01234567.part",
        "a.bin.01234567.part",
        f"a.bin.{ours}-01234567.part",
        "a.bin.part",
        "part",
        "a.part.bin",
    ]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    remove_abandoned_drafts(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(names)
    before = time.time() - 2 * whole.DRAFT_SECONDS
    for name in names:
        os.utime(tmp_path / name, (before, before))
    remove_abandoned_drafts(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"a.bin.part", "part", "a.part.bin"}
    remove_abandoned_drafts(tmp_path / "nowhere")


def test_what_is_appended_replaces_what_was_cut_short(tmp_path):
    path = tmp_path / "a.jsonl"
    append_flushed(b"one\n", path, 0)
    path.write_bytes(path.read_bytes() + b"cut sh")
    append_flushed(b"two\n", path, 4)
    assert path.read_bytes() == b"one\ntwo\n"
