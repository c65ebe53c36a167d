"""The pack loads in the real server, says what it is, and takes little time for it."""

from __future__ import annotations

import re
import subprocess

from published import copy_published

from devtools.layout import venv_python
from devtools.server import Server

CATEGORIES = ("Smooth Diffusion", "Smooth Diffusion/inversion", "Smooth Diffusion/training")


def test_every_node_is_there_and_described(client, node_ids):
    info = client.object_info()
    ours = {
        node_id: entry for node_id, entry in info.items() if entry["python_module"] == "custom_nodes.smooth-diffusion"
    }
    assert sorted(ours) == sorted(node_ids)
    for node_id, entry in ours.items():
        assert node_id.startswith("Smooth")
        assert entry["category"] in CATEGORIES, node_id
        assert entry["display_name"] and entry["description"] and entry["search_aliases"], node_id
        inputs = {**entry["input"].get("required", {}), **entry["input"].get("optional", {})}
        for name, (_, *options) in inputs.items():
            assert options and options[0].get("tooltip"), f"{node_id}.{name} has no tooltip"
        assert all(entry["output_tooltips"]), f"{node_id} has an output without a tooltip"


def test_the_log_of_the_start_names_no_fault_of_ours(server: Server):
    ours = [line for line in server.log().splitlines() if "smooth-diffusion" in line]
    times = [float(seconds) for line in ours for seconds in re.findall(r"([0-9.]+) seconds: ", line)]
    assert times, "the host's list of import times does not name the pack"
    assert not [line for line in ours if re.search("warn|error|fail", line, re.IGNORECASE)]


def test_the_published_pack_loads_alone(tmp_path, comfy_root, node_ids):
    copy = copy_published(tmp_path)
    assert not (copy / "devtools").exists()
    check = subprocess.run(
        [str(venv_python()), "install.py"],
        cwd=copy,
        stdin=subprocess.DEVNULL,
        text=True,
        capture_output=True,
        check=False,
    )
    assert (check.returncode, check.stdout) == (0, "Smooth Diffusion: everything it needs is here.\n")
    with Server(packs=[copy]) as server:
        assert set(node_ids) <= set(server.client.object_info())
