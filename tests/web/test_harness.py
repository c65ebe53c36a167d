"""Page tests see what a user would see complained about; without this, their silence would prove nothing."""

from __future__ import annotations

from typing import Any

from comfy_page import EMPTY, graph_to_prompt, load_workflow, notices, serialized

PICTURE = {
    "id": 1,
    "type": "EmptyImage",
    "pos": [100, 100],
    "size": [220, 130],
    "flags": {},
    "order": 0,
    "mode": 0,
    "inputs": [],
    "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}],
    "properties": {},
    "widgets_values": [16, 8, 2, 255],
}
SAVE = {
    "id": 2,
    "type": "SaveImage",
    "pos": [400, 100],
    "size": [220, 130],
    "flags": {},
    "order": 1,
    "mode": 0,
    "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
    "outputs": [],
    "properties": {},
    "widgets_values": ["harness"],
}


def workflow(*more: dict[str, Any]) -> dict[str, Any]:
    return {
        **EMPTY,
        "last_node_id": 3,
        "last_link_id": 1,
        "nodes": [PICTURE, SAVE, *more],
        "links": [[1, 1, 0, 2, 0, "IMAGE"]],
    }


def unconnected(kind: str, **facts: Any) -> dict[str, Any]:
    return {
        "id": 3,
        "type": kind,
        "pos": [100, 400],
        "size": [220, 130],
        "flags": {},
        "order": 2,
        "mode": 0,
        "inputs": [],
        "outputs": [],
        "properties": {},
        "widgets_values": [],
        **facts,
    }


def test_a_sound_workflow_opens_silently_and_runs(page, complaints, client, renderer):
    load_workflow(page, workflow())
    assert notices(page) == []
    assert complaints.messages == []
    assert page.evaluate("() => window.app.extensionManager.setting.get('Comfy.VueNodes.Enabled')") is (
        renderer == "nodes2"
    )
    prompt = graph_to_prompt(page)
    assert prompt["1"]["inputs"] == {"width": 16, "height": 8, "batch_size": 2, "color": 255}
    assert prompt["2"]["inputs"] == {"filename_prefix": "harness", "images": ["1", 0]}
    assert len(client.run(prompt)["2"]["images"]) == 2
    load_workflow(page, serialized(page))
    assert graph_to_prompt(page) == prompt


def test_a_missing_node_is_noticed(page):
    load_workflow(page, workflow(unconnected("NoSuchNode")))
    assert [notice.kind for notice in notices(page)] == ["card"]
    assert "NoSuchNode" in notices(page)[0].text


def test_a_missing_model_is_noticed(page):
    models = [
        {"name": "absent.safetensors", "url": "https://example.org/absent.safetensors", "directory": "checkpoints"}
    ]
    load_workflow(
        page,
        workflow(
            unconnected("CheckpointLoaderSimple", properties={"models": models}, widgets_values=["absent.safetensors"])
        ),
    )
    assert "absent.safetensors" in notices(page)[0].text


def test_warnings_and_errors_of_a_script_are_collected(page, complaints):
    page.evaluate("() => { console.warn('one'); console.error('two'); console.log('three') }")
    page.evaluate("() => { setTimeout(() => { throw new Error('four') }) }")
    page.wait_for_timeout(100)
    assert [(message.kind, message.text) for message in complaints.messages] == [
        ("warning", "one"),
        ("error", "two"),
        ("pageerror", "four"),
    ]
    assert not any(message.is_ours for message in complaints.messages)
