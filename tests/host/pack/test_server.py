"""The harness itself: it reports what the real server refuses or fails at, in the words a user reads."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from devtools.server import HostError, Server

PICTURE = {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 8, "batch_size": 1, "color": 255}}
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "server"}}


def test_outputs_and_their_files(client, server):
    files = client.run({"1": PICTURE, "2": SAVE})["2"]["images"]
    assert [file["type"] for file in files] == ["output"]
    assert client.view(files[0]) == (server.output / files[0]["filename"]).read_bytes()


def test_a_refused_prompt_names_the_input(client):
    bad = {**PICTURE, "inputs": {**PICTURE["inputs"], "width": -3}}
    with pytest.raises(HostError, match=r"EmptyImage \(1\): Value -3 smaller than min of 1: width") as caught:
        client.run({"1": bad, "2": SAVE})
    assert caught.value.node_errors["1"]["errors"][0]["type"] == "value_smaller_than_min"


def test_a_prompt_that_would_run_in_part_is_refused(client):
    half = {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}
    with pytest.raises(HostError, match=r"only a part; SaveImage \(3\): .*filename_prefix"):
        client.queue({"1": PICTURE, "2": SAVE, "3": half})


def test_a_node_that_fails_is_named_with_its_own_sentence(client):
    out_of_place = {**SAVE, "inputs": {**SAVE["inputs"], "filename_prefix": "../../outside"}}
    with pytest.raises(HostError, match="outside the output folder") as caught:
        client.run({"1": PICTURE, "2": out_of_place})
    assert (caught.value.node_id, caught.value.node_type) == ("2", "SaveImage")
    assert "Traceback" in caught.value.traceback or "get_save_image_path" in caught.value.traceback
    assert client.run({"1": PICTURE, "2": SAVE})["2"]["images"]


def test_interrupt_and_free(client, demo_models):
    """A walk far too long to wait for is stopped within a step."""
    text = {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": ""}}
    loader = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "smooth_demo.safetensors"}}
    latent = {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}
    sampler = {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0],
            "positive": ["2", 0],
            "negative": ["2", 0],
            "latent_image": ["3", 0],
            "seed": 1,
            "steps": 10_000,
            "cfg": 3.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
        },
    }
    prompt = {
        "1": loader,
        "2": text,
        "3": latent,
        "4": sampler,
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "long"}},
    }
    prompt_id = client.queue(prompt)
    stopper = threading.Timer(5.0, client.interrupt, [prompt_id])
    stopper.start()
    started = time.monotonic()
    with pytest.raises(HostError, match="interrupted in") as caught:
        client.wait(prompt_id, timeout=120)
    assert caught.value.interrupted
    assert time.monotonic() - started > 4
    client.free()
    assert client.run({"1": PICTURE, "2": SAVE})["2"]["images"]


def test_a_server_that_is_gone_is_said(tmp_path: Path):
    with pytest.raises(HostError, match="no ComfyUI at"):
        Server(comfy=tmp_path).start()
    with Server(packs=[]) as short_lived:
        client, base, pid = short_lived.client, short_lived.base, short_lived.pid
        assert pid > 0 and base.is_dir()
    assert not base.exists()
    with pytest.raises(HostError, match="no answer from"):
        client.object_info()


BROKEN = {
    "no-module": ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
    "no-entry": ("NODES = []", "lack of NODE_CLASS_MAPPINGS"),
    "bad-entry": ("def comfy_entrypoint(): raise ValueError('schema is wrong')", "schema is wrong"),
}


def test_a_pack_that_does_not_load_fails_with_its_own_error(tmp_path: Path):
    for name, (source, _) in BROKEN.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(source, encoding="ascii")
    with pytest.raises(HostError) as caught:
        Server(packs=[tmp_path / name for name in BROKEN]).start()
    for name, (_, reason) in BROKEN.items():
        assert [line for line in str(caught.value).splitlines() if name in line and reason in line], name


def test_a_taken_port_is_refused(server: Server):
    with pytest.raises(HostError, match=f"port {server.port} is taken"):
        Server(packs=[], port=server.port).start()


def test_an_option_that_the_host_does_not_know_fails_with_the_hosts_words():
    with pytest.raises(HostError, match="unrecognized arguments: --no-such-option"):
        Server(["--no-such-option"], packs=[]).start()
