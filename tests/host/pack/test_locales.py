"""The words of the page: complete, true to the nodes, and found under the names that the page asks for."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from devtools.layout import PACK_NAME
from devtools.locales import LOCALE, escaped, locale_text, node_words
from devtools.server import Client

HOW = "run: .host/venv/bin/python -m devtools.locales"


@pytest.fixture(scope="module")
def infos(pack) -> dict[str, dict]:
    """Every node as /object_info describes it, by id."""
    nodes = asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
    return {info["name"]: info for info in (node.GET_NODE_INFO_V1() for node in nodes)}


@pytest.fixture(scope="module")
def words() -> dict[str, dict]:
    return json.loads(LOCALE.read_text(encoding="utf-8"))


def test_the_file_is_what_the_nodes_say(infos):
    assert LOCALE.read_text(encoding="utf-8") == locale_text(infos.values()), HOW


def test_every_node_describes_itself_and_every_input_and_output(infos, words):
    assert sorted(words) == sorted(infos)
    for node_id, entry in words.items():
        assert entry["display_name"] != node_id and entry["description"].endswith(".")
        nameless = [
            (part, name)
            for part in ("inputs", "outputs")
            for name, said in entry[part].items()
            if not said.get("tooltip", "").endswith(".")
        ]
        assert nameless == [], f"{node_id}: no tooltip that is a sentence"


def test_the_slots_that_an_input_grows_have_words_under_their_own_names(words):
    slots = [name for name in words["SmoothNoiseWalk"]["inputs"] if name.startswith("keyframes_")]
    assert slots == [f"keyframes_keyframe_{place}" for place in range(100)]
    assert list(words["SmoothNoiseWalk"]["inputs"]["keyframes_keyframe_99"]) == ["tooltip"]


def texts(words: dict) -> list[str]:
    """Every description and tooltip."""
    return [
        text
        for entry in words.values()
        for text in (
            entry["description"],
            *(said["tooltip"] for part in ("inputs", "outputs") for said in entry[part].values()),
        )
    ]


def test_the_words_are_plain(words):
    for text in texts(words):
        assert text.isascii() and "  " not in text and "!" not in text, text
        assert not re.search(r"\b(simply|just|powerful|amazing|seamless\w*|easily|best)\b", text), text


def test_the_translators_syntax_is_escaped_in_names_but_not_in_tooltips():
    info = {
        "display_name": "A | B",
        "description": "50% of {it} @home.",
        "input": {"required": {"a.b": ["INT", {"tooltip": "1 | 2."}]}},
        "output_name": ["x@y"],
        "output_tooltips": ["{z}."],
    }
    assert node_words(info) == {
        "display_name": "A {'|'} B",
        "description": "50{'%'} of {'{'}it{'}'} {'@'}home.",
        "inputs": {"a_b": {"name": "a.b", "tooltip": "1 | 2."}},
        "outputs": {"0": {"name": "x{'@'}y", "tooltip": "{z}."}},
    }
    assert escaped("plain words, 3 to 4") == "plain words, 3 to 4"


def test_the_server_hands_the_words_to_the_page(client: Client, words):
    assert client.get("/i18n")["en"]["nodeDefs"].items() >= words.items()


def test_the_server_hands_out_the_help_page_of_every_node(client: Client, words):
    for node_id, entry in words.items():
        page = client.fetch(f"/extensions/{PACK_NAME}/docs/{node_id}.md").decode("utf-8")
        assert page.startswith(f"# {entry['display_name']}\n")
