"""Same seed, same frames: across restarts of the real server, and whatever the host's cache keeps or drops."""

from __future__ import annotations

import pytest
from small_prompts import FRAMES, pictures, walk_prompt

from devtools.server import Server

CACHES = (["--cache-ram"], ["--cache-classic"], ["--cache-lru", "3"], ["--cache-none"])


@pytest.fixture(scope="module")
def expected(client, demo_models) -> list[bytes]:
    """The frames of the shared server."""
    return pictures(client, walk_prompt())


def test_the_frames_differ(expected):
    assert len(expected) == FRAMES and len(set(expected)) == FRAMES


@pytest.mark.parametrize("cache", CACHES, ids=lambda options: options[0])
def test_same_frames_after_a_restart_and_under_every_cache(expected, cache):
    with Server(cache) as server:
        assert pictures(server.client, walk_prompt()) == expected
        assert pictures(server.client, walk_prompt("5, 6")) != expected
        assert pictures(server.client, walk_prompt()) == expected  # after another walk went through the same caches
