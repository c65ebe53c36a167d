"""The rules of a cache in a folder, with texts as its values. Those of each kind are in its own test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smooth_lora.files.content_key import content_key
from smooth_lora.files.folder_cache import FolderCache
from smooth_lora.files.whole import write_text

KEYS = [content_key(number=number) for number in range(4)]


class TextCache(FolderCache[str]):
    kind = "text"

    def load(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError("cannot be read") from error

    def save(self, value: str, path: Path) -> None:
        write_text(value, path)

    def size(self, value: str) -> int:
        return len(value.encode())


def stored(folder: Path) -> list[int]:
    return [number for number, key in enumerate(KEYS) if (folder / f"text_{key}.safetensors").exists()]


def put_at(cache: TextCache, number: int, second: int) -> bool:
    """Puts ten bytes, and dates them."""
    done = cache.put(KEYS[number], "x" * 10)
    path = cache.folder / f"text_{KEYS[number]}.safetensors"
    if path.exists():
        os.utime(path, (second, second))
    return done


def test_a_value_comes_back_from_the_next_process(tmp_path):
    assert TextCache(tmp_path / "new", 100).put(KEYS[0], "one")
    assert TextCache(tmp_path / "new", 100).get(KEYS[0]) == "one"
    assert TextCache(tmp_path / "new", 100).get(KEYS[1]) is None


def test_the_limit_counts_bytes_and_the_longest_unused_go(tmp_path):
    cache = TextCache(tmp_path, 30)
    assert all(put_at(cache, number, 100 + number) for number in range(3))
    assert stored(tmp_path) == [0, 1, 2]  # 30 bytes fit exactly
    assert cache.get(KEYS[0])  # dated now
    assert put_at(cache, 3, 200) and stored(tmp_path) == [0, 2, 3]


def test_a_value_above_the_limit_is_not_stored(tmp_path):
    assert not TextCache(tmp_path, 9).put(KEYS[0], "x" * 10) and stored(tmp_path) == []
    assert TextCache(tmp_path, 10).put(KEYS[0], "x" * 10) and stored(tmp_path) == [0]
    assert not TextCache(tmp_path, 0).put(KEYS[1], "")


@pytest.mark.parametrize("key", ["0" * 63, "G" * 64, "../" + "0" * 61])
def test_a_key_is_of_content(tmp_path, key):
    with pytest.raises(ValueError, match="a key of the cache must be 64 lower-case hexadecimal digits"):
        TextCache(tmp_path, 10).get(key)
