"""The cache of inversions: it never lies, never grows beyond its limit, and never costs an inversion."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
import torch

from smooth_lora.files import folder_cache, whole
from smooth_lora.inversion import inversion_cache, inversion_file
from smooth_lora.inversion.inversion_cache import InversionCache
from smooth_lora.inversion.record import Inversion
from smooth_lora.sampling.scale import Scale

KEYS = [hashlib.sha256(bytes([k])).hexdigest() for k in range(6)]
ROOM = 1 << 30


def inversion(value: float = 1.0, **text: object) -> Inversion:
    sigmas = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)
    return Inversion(
        "ddim",
        1.0,
        sigmas,
        torch.full((3, 1, 4, 8, 8), value, dtype=torch.float64),
        torch.full((1, 4, 8, 8), value),
        Scale(),
        "ab",
        [[torch.ones(1, 2), text]],
        [],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "in" / "cache"


def entry(folder: Path, number: int) -> Path:
    return folder / f"inversion_{KEYS[number]}.safetensors"


def kept(folder: Path) -> set[int]:
    return {number for number in range(len(KEYS)) if entry(folder, number).exists()}


def age(folder: Path, number: int, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(entry(folder, number), (moment, moment))


def size_of_one(folder: Path) -> int:
    InversionCache(folder, ROOM).put(KEYS[0], inversion())
    size = entry(folder, 0).stat().st_size
    entry(folder, 0).unlink()
    return size


def test_it_gives_back_what_was_put(folder: Path):
    cache = InversionCache(folder, ROOM)
    assert cache.get(KEYS[0]) is None
    assert cache.put(KEYS[0], inversion(3.0)) and cache.put(KEYS[1], inversion(4.0))
    found = InversionCache(folder, ROOM).get(KEYS[0])
    assert torch.equal(found.states, inversion(3.0).states) and found.states.dtype == torch.float64
    assert cache.put(KEYS[0], inversion(5.0)) and cache.get(KEYS[0]).noise.max() == 5.0
    assert len(list(folder.iterdir())) == 2


def test_the_longest_unused_go_first(folder: Path):
    size = size_of_one(folder)
    cache = InversionCache(folder, 3 * size)
    for number in range(3):
        assert cache.put(KEYS[number], inversion())
        age(folder, number, 100 - number)
    assert kept(folder) == {0, 1, 2}
    assert cache.get(KEYS[0]) is not None  # used again: now the youngest
    assert cache.put(KEYS[3], inversion())
    assert kept(folder) == {0, 2, 3}
    assert cache.put(KEYS[4], inversion())
    assert kept(folder) == {0, 3, 4}
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 3 * size


def test_the_one_just_put_stays_however_old_it_looks(folder: Path):
    size = size_of_one(folder)
    cache = InversionCache(folder, size)
    assert cache.put(KEYS[0], inversion())
    age(folder, 0, -1000)  # a clock that ran ahead
    assert cache.put(KEYS[1], inversion())
    assert kept(folder) == {1}


def test_a_smaller_limit_takes_hold_with_the_next_put(folder: Path):
    size = size_of_one(folder)
    for number in range(4):
        InversionCache(folder, ROOM).put(KEYS[number], inversion())
        age(folder, number, 100 - number)
    assert InversionCache(folder, 2 * size).put(KEYS[4], inversion())
    assert kept(folder) == {3, 4}


def test_what_is_too_large_or_off_is_not_stored(folder: Path):
    size = size_of_one(folder)
    assert InversionCache(folder, size).put(KEYS[0], inversion())
    assert not InversionCache(folder, size - 1).put(KEYS[1], inversion())
    assert not InversionCache(folder, 100).put(KEYS[1], inversion())
    off = InversionCache(folder, 0)
    assert not off.put(KEYS[1], inversion()) and off.get(KEYS[0]) is None
    assert kept(folder) == {0} and len(list(folder.iterdir())) == 1
    with pytest.raises(ValueError, match="cannot be limited to -1 bytes; give 0 to turn it off"):
        InversionCache(folder, -1)


def test_a_text_that_a_file_cannot_hold_is_not_cached(folder: Path):
    assert not InversionCache(folder, ROOM).put(KEYS[0], inversion(control=object()))
    assert not list(folder.iterdir())


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_entry_counts_as_missing_and_goes(folder: Path, damage: str):
    cache = InversionCache(folder, ROOM)
    cache.put(KEYS[0], inversion())
    whole = entry(folder, 0).read_bytes()
    entry(folder, 0).write_bytes(
        {"cut": whole[:-9], "flipped": whole[:-9] + b"\x01" + whole[-8:], "empty": b"", "foreign": b"a text"}[damage]
    )
    assert cache.get(KEYS[0]) is None and not entry(folder, 0).exists()
    assert cache.put(KEYS[0], inversion()) and cache.get(KEYS[0]) is not None


def test_foreign_files_are_left_alone(folder: Path):
    size = size_of_one(folder)
    foreign = [
        f"{KEYS[5]}.safetensors",
        "inversion_ab.safetensors",
        f"inversion_{KEYS[5]}.safetensors.bak",
        "a.part",
        f"inversion_{KEYS[5]}.png",
    ]
    for name in foreign:
        (folder / name).write_bytes(b"x" * size * 2)
        os.utime(folder / name, (1, 1))
    (folder / f"inversion_{KEYS[5]}.safetensors").mkdir()
    cache = InversionCache(folder, size)
    assert cache.put(KEYS[0], inversion()) and cache.put(KEYS[1], inversion()) and cache.get(KEYS[1])
    assert kept(folder) == {1, 5} and all((folder / name).exists() for name in foreign)
    assert not cache.put(KEYS[5], inversion()) and cache.get(KEYS[5]) is None


def test_drafts_of_killed_processes_go(folder: Path):
    cache = InversionCache(folder, ROOM)
    cache.put(KEYS[0], inversion())
    old, new = (folder / f"{entry(folder, 1).name}.0123456{digit}.part" for digit in "01")
    old.write_bytes(b"half")
    new.write_bytes(b"being written")
    os.utime(old, (1, 1))
    cache.put(KEYS[1], inversion())
    assert not old.exists() and new.exists()


@pytest.mark.parametrize(
    "key",
    ["", "..", "../" + KEYS[0], KEYS[0] + "\n", KEYS[0].upper(), KEYS[0][:-1], "g" * 64, KEYS[0] + "/x", None, 7],
    ids=repr,
)
def test_a_key_cannot_leave_the_folder(folder: Path, key: object):
    cache = InversionCache(folder, ROOM)
    with pytest.raises(ValueError, match="must be 64 lower-case hexadecimal digits, got .*; make it with content_key"):
        cache.get(key)
    with pytest.raises(ValueError, match="must be 64 lower-case hexadecimal digits"):
        cache.put(key, inversion())
    assert not folder.exists()


@pytest.mark.parametrize("where", ["save_file", "fsync", "replace", "mkdir"])
def test_a_disk_that_takes_nothing_costs_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, where: str):
    cache = InversionCache(folder, ROOM)
    cache.put(KEYS[0], inversion())

    def fail(*arguments: object, **_: object) -> None:
        if where == "save_file":
            Path(arguments[1]).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    owner = {"save_file": whole, "mkdir": inversion_cache.Path}.get(where, os)
    monkeypatch.setattr(owner, where, fail)
    assert cache.put(KEYS[1], inversion()) is False
    monkeypatch.undo()
    assert [file.name for file in folder.iterdir()] == [entry(folder, 0).name] and cache.get(KEYS[0]) is not None


def test_a_folder_that_is_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    cache = InversionCache(tmp_path / "file", ROOM)
    assert cache.put(KEYS[0], inversion()) is False and cache.get(KEYS[0]) is None
    assert (tmp_path / "file").read_text() == "mine"


def test_files_that_vanish_or_cannot_be_deleted_are_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch):
    size = size_of_one(folder)
    cache = InversionCache(folder, size)
    cache.put(KEYS[0], inversion())
    ghost = [folder_cache._File(entry(folder, 3), size, 0)]
    files = InversionCache._files
    monkeypatch.setattr(InversionCache, "_files", lambda self, pattern: files(self, pattern) + ghost)
    assert cache.put(KEYS[1], inversion()) and kept(folder) == {1}

    def evicted_at_once(made: Inversion, path: Path) -> None:
        inversion_file.save_inversion(made, path)
        path.unlink()

    with monkeypatch.context() as other:
        other.setattr(inversion_cache, "save_inversion", evicted_at_once)
        assert cache.put(KEYS[4], inversion()) and kept(folder) == {1}

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "in use")

    monkeypatch.setattr(inversion_cache.Path, "unlink", refuse)
    assert cache.put(KEYS[2], inversion()) and kept(folder) == {1, 2}
    monkeypatch.setattr(os, "utime", refuse)
    assert cache.get(KEYS[2]) is not None
