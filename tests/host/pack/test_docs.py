"""The help pages and the README name what is there, and quote what the pack really says."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from devtools.layout import PACK

PAGES = PACK / "web" / "docs"
README = PACK / "README.md"
DOCUMENTS = [README, *sorted(PAGES.glob("*.md"))]
SNAPSHOT = json.loads((Path(__file__).parents[1] / "snapshot.json").read_text(encoding="utf-8"))
MOST_IMAGE_BYTES = 600_000
A_VALUE = 45  # characters that a quoted sentence may have where the source has a value: a file name, a model's name
LEAST_LITERAL = 10  # letters of its own that a text of the source needs to explain a sentence
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"")


def page(node_id: str) -> str:
    return (PAGES / f"{node_id}.md").read_text(encoding="utf-8")


def named(text: str, heading: str) -> list[str]:
    """What a list or the first column of a table under a heading names, one or more per entry."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"no section {heading}"
    items = re.findall(r"^- (`[^:]+`): ", section[1], re.MULTILINE)
    cells = re.findall(r"^\| *([^|]+?) *\|", section[1], re.MULTILINE)
    items += [cell for cell in cells if not set(cell) <= set("-: ")][1:]
    return [name.strip("`*") for item in items for name in item.split(", ")]


@pytest.fixture(scope="module")
def infos(pack) -> dict[str, dict]:
    """Every node as /object_info describes it, by id."""
    nodes = asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
    return {info["name"]: info for info in (node.GET_NODE_INFO_V1() for node in nodes)}


def test_every_node_has_a_page_and_no_page_is_left_over(infos):
    assert {path.stem for path in PAGES.glob("*.md")} == set(infos)
    for node_id, info in infos.items():
        assert page(node_id).startswith(f"# {info['display_name']}\n"), node_id


@pytest.mark.parametrize("node_id", sorted(SNAPSHOT))
def test_a_page_lists_exactly_the_inputs_and_outputs_in_their_order(infos, node_id):
    info = infos[node_id]
    inputs = [name for kind in ("required", "optional") for name in info["input_order"].get(kind, [])]
    assert named(page(node_id), "Inputs") == inputs
    assert named(page(node_id), "Outputs") == info["output_name"]


@pytest.mark.parametrize("node_id", sorted(SNAPSHOT))
def test_a_page_names_every_choice_and_every_slot_that_grows(node_id):
    for facts in SNAPSHOT[node_id]["inputs"].values():
        assert [choice for choice in facts.get("choices", []) if f"`{choice}`" not in page(node_id)] == []
        if "grows" in facts:
            assert f"`{facts['grows']['prefix']}0`" in page(node_id)


def test_the_readme_names_every_node(infos):
    text = README.read_text(encoding="utf-8")
    assert [info["display_name"] for info in infos.values() if f"**{info['display_name']}**" not in text] == []


def test_the_readme_lists_every_template():
    templates = {path.stem for path in (PACK / "example_workflows").glob("*.json")}
    assert set(named(README.read_text(encoding="utf-8"), "First walk")) == templates


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file(document):
    targets = [first or second for first, second in LINK.findall(document.read_text(encoding="utf-8"))]
    local = [target for target in targets if not re.match(r"https?://|#", target)]
    assert [target for target in local if not (document.parent / target.split("#")[0]).exists()] == []


def test_the_pictures_of_the_documents_are_small_and_all_used():
    pictures = sorted((PACK / "docs" / "images").iterdir())
    assert sum(path.stat().st_size for path in pictures) < MOST_IMAGE_BYTES
    said = README.read_text(encoding="utf-8")
    assert [path.name for path in pictures if path.relative_to(PACK).as_posix() not in said] == []


@cache
def texts_of_the_source() -> tuple[re.Pattern[str], ...]:
    """Every text of the pack's modules as a pattern with a group for each value in it."""
    files = [path for folder in ("nodes", "smooth_lora") for path in (PACK / folder).rglob("*.py")]
    patterns = {pattern for path in files for pattern in texts_in(ast.parse(path.read_text(encoding="utf-8")))}
    return tuple(re.compile(pattern) for pattern in sorted(patterns))


def texts_in(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        literals = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        if sum(map(str.isalpha, "".join(literals))) >= LEAST_LITERAL:
            yield "".join(re.escape(part.value) if isinstance(part, ast.Constant) else "(.*?)" for part in parts)


def is_said(sentence: str) -> bool:
    """Whether some text of the source gives this sentence, what stands in its gaps being short or said itself."""
    for pattern in texts_of_the_source():
        found = pattern.fullmatch(sentence)
        if found and all(len(gap) <= A_VALUE or is_said(gap.removeprefix("; ")) for gap in found.groups()):
            return True
    return False


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_quoted_sentence_is_what_the_pack_says(document):
    quotes = re.findall(r"^> (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    assert [quote for quote in quotes if not is_said(quote)] == []


def test_a_sentence_that_the_pack_does_not_say_is_found():
    assert is_said("frame number 60 is not part of this walk, which renders frames 0 to 47 of 48")
    assert not is_said("frame number 60 is not in this walk")
    assert not is_said("Walk Sampler: something that nobody wrote down anywhere in it; choose another sampler instead")
