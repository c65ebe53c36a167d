"""What saved workflows rely on never changes by accident: node ids, inputs, their order, and outputs.

A new node or input is added to the snapshot by an explicit command:
    python install.py test tests/host/pack/test_snapshot.py --update-snapshot
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

SNAPSHOT = Path(__file__).parents[1] / "snapshot.json"


def host_lists() -> list[list[str]]:
    """Combo contents that belong to the host or the user's folders, and so differ between installations."""
    import comfy.samplers
    import folder_paths

    return [
        comfy.samplers.KSampler.SAMPLERS,
        comfy.samplers.KSampler.SCHEDULERS,
        *(folder_paths.get_filename_list(kind) for kind in ("checkpoints", "loras", "vae")),
    ]


def are_files(choices: list[str]) -> bool:
    """Whether a combo lists files of the user's that only the pack knows the folders of: saved inversions."""
    return all(choice.removesuffix(" [output]").endswith(".inversion.safetensors") for choice in choices)


def described(kind: str, entry: list[Any]) -> dict[str, Any]:
    """One input without its words and bounds: type, whether it is required, choices, and what it grows."""
    options = entry[1] if len(entry) > 1 else {}
    facts = {"type": entry[0] if isinstance(entry[0], str) else "COMBO", "kind": kind}
    choices = entry[0] if isinstance(entry[0], list) else options.get("options")
    if choices is not None and choices not in host_lists() and not are_files(choices):
        facts["choices"] = list(choices)
    if "template" in options:
        template = options["template"]
        grown = {name: value[0] for part in template["input"].values() for name, value in part.items()}
        facts["grows"] = {**{key: template[key] for key in ("prefix", "min", "max")}, "input": grown}
    return facts


def frozen(info: dict[str, Any]) -> dict[str, Any]:
    """The part of a node's description that a saved workflow stores or points to."""
    inputs = {
        name: described(kind, info["input"][kind][name])
        for kind in info["input"]
        if kind != "hidden"
        for name in info["input_order"][kind]
    }
    outputs = [list(pair) for pair in zip(info["output_name"], info["output"], strict=True)]
    return {"inputs": inputs, "input_order": list(inputs), "outputs": outputs}


def test_nodes_are_what_saved_workflows_expect(pack, request):
    nodes = asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
    now = {node.GET_SCHEMA().node_id: frozen(node.GET_NODE_INFO_V1()) for node in nodes}
    if request.config.getoption("--update-snapshot"):
        SNAPSHOT.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    saved = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    assert sorted(now) == sorted(saved)
    for node_id, facts in now.items():
        assert facts == saved[node_id], f"{node_id} has changed; saved workflows rely on it"
