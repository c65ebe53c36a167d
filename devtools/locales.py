"""The page's words for our nodes, locales/en/nodeDefs.json, written from the nodes' own descriptions.

    .host/venv/bin/python -m devtools.locales

The file is the template of every translation, and the only way to a tooltip on the slots that an input grows: the page
looks for those under their own names ("keyframes.keyframe_0"), which no node description holds.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .layout import PACK
from .report import say

LOCALE = PACK / "locales" / "en" / "nodeDefs.json"
# What the page's translator (vue-i18n) takes for its own syntax in names and descriptions; tooltips it leaves alone.
TRANSLATOR_SYNTAX = re.compile(r"[@{}|%]")


def page_key(name: str) -> str:
    """The name under which the page looks a node, an input or a slot up."""
    return name.replace(".", "_")


def escaped(text: str) -> str:
    """A text that the page's translator gives back unchanged."""
    return TRANSLATOR_SYNTAX.sub(lambda found: "{'" + found[0] + "'}", text)


def node_words(info: dict[str, Any]) -> dict[str, Any]:
    """A node's entry: display name, description, and name and tooltip of every input, grown slot and output.

    info: the node as /object_info describes it. The choices of its combo boxes are left out: the page shows them as
          they are stored, and translates none
    """
    inputs = {page_key(name): words for name, words in _inputs(info)}
    outputs = {
        str(place): _words(name, {"tooltip": tooltip})
        for place, (name, tooltip) in enumerate(zip(info["output_name"], info["output_tooltips"], strict=True))
    }
    return {
        "display_name": escaped(info["display_name"]),
        "description": escaped(info["description"]),
        "inputs": inputs,
        "outputs": outputs,
    }


def _words(name: str, options: dict[str, Any]) -> dict[str, str]:
    return {"name": escaped(options.get("display_name") or name), **_tooltip(options)}


def _tooltip(options: dict[str, Any]) -> dict[str, str]:
    return {"tooltip": options["tooltip"]} if options.get("tooltip") else {}


def _inputs(info: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    for kind in ("required", "optional"):
        for name, entry in info["input"].get(kind, {}).items():
            options = entry[1] if len(entry) > 1 else {}
            yield name, _words(name, options)
            if "template" in options:
                yield from _grown(name, options["template"])


def _grown(name: str, template: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Every slot that an input can grow, without a name: the page labels it itself, and its newer renderer would look
    for the tooltip under the name given here."""
    slots = {**template["input"].get("required", {}), **template["input"].get("optional", {})}
    (entry,) = slots.values()
    for place in range(template["max"]):
        yield f"{name}.{template['prefix']}{place}", _tooltip(entry[1])


def locale_text(infos: Iterable[dict[str, Any]]) -> str:
    """The whole file."""
    words = {page_key(info["name"]): node_words(info) for info in infos}
    return json.dumps(words, indent=1) + "\n"


def main() -> None:
    """Write the file; needs the host, so it runs in .host/venv."""
    from .in_process import HostPack, use_host

    with tempfile.TemporaryDirectory(prefix="smooth-locales-") as base:
        use_host(Path(base))
        extension = asyncio.run(HostPack().root.comfy_entrypoint())
        nodes = asyncio.run(extension.get_node_list())
    LOCALE.parent.mkdir(parents=True, exist_ok=True)
    LOCALE.write_text(locale_text(node.GET_NODE_INFO_V1() for node in nodes), encoding="utf-8")
    say(f"{LOCALE.relative_to(PACK)}: {len(nodes)} nodes")


if __name__ == "__main__":
    main()
