"""Our nodes on the page, in both renderers: they appear, grow, connect, and survive saving and loading."""

from __future__ import annotations

import pytest
from comfy_page import graph_to_prompt, load_workflow, notices, serialized, settle

ADD = """([kind, x, y]) => {
    const node = window.LiteGraph.createNode(kind)
    node.pos = [x, y]
    window.app.graph.add(node)
    return node.id }"""
SLOTS = """id => window.app.graph.getNodeById(id).inputs.filter(slot => !slot.widget)
    .map(slot => [slot.name, slot.link != null])"""
CONNECT = """([from, to, name]) => {
    const target = window.app.graph.getNodeById(to)
    const slot = target.inputs.findIndex(input => input.name === name)
    return window.app.graph.getNodeById(from).connect(0, target, slot) != null }"""
DISCONNECT = """([id, name]) => {
    const node = window.app.graph.getNodeById(id)
    node.disconnectInput(node.inputs.findIndex(input => input.name === name)) }"""


def add(page, kind: str, x: int = 0, y: int = 0) -> int:
    return page.evaluate(ADD, [kind, x, y])


def connect(page, source: int, target: int, name: str) -> bool:
    connected = page.evaluate(CONNECT, [source, target, name])
    page.wait_for_timeout(100)  # the page grows slots after the click has been handled
    return connected


@pytest.mark.both_renderers
def test_every_node_appears_and_survives_saving(page, complaints, node_ids):
    placed = {
        node_id: add(page, node_id, 500 * (number % 4), 700 * (number // 4)) for number, node_id in enumerate(node_ids)
    }
    settle(page)
    prompt = graph_to_prompt(page)
    assert {prompt[str(number)]["class_type"] for number in placed.values()} == set(node_ids)
    load_workflow(page, serialized(page))
    assert graph_to_prompt(page) == prompt
    assert complaints.messages == []
    assert notices(page) == []


@pytest.mark.both_renderers
def test_keyframes_take_noise_and_latents_and_grow(page):
    walk = add(page, "SmoothNoiseWalk", 600)
    seeds = [add(page, "RandomNoise", 0, 200 * row) for row in range(2)]
    latent, picture = add(page, "EmptyLatentImage", 0, 500), add(page, "EmptyImage", 0, 700)
    schedule = add(page, "SmoothWalkSchedule", 0, 900)
    assert [name for name, _ in page.evaluate(SLOTS, walk)] == [
        "keyframes.keyframe_0",
        "keyframes.keyframe_1",
        "keyframes.keyframe_2",
        "walk",
    ]
    assert connect(page, schedule, walk, "walk")
    assert connect(page, seeds[0], walk, "keyframes.keyframe_0")
    assert connect(page, latent, walk, "keyframes.keyframe_1")
    assert not connect(page, picture, walk, "keyframes.keyframe_2")
    assert connect(page, seeds[1], walk, "keyframes.keyframe_2")
    grown = [
        ["keyframes.keyframe_0", True],
        ["keyframes.keyframe_1", True],
        ["keyframes.keyframe_2", True],
        ["keyframes.keyframe_3", False],
        ["walk", True],
    ]
    assert page.evaluate(SLOTS, walk) == grown
    wires = {
        "keyframes.keyframe_0": [str(seeds[0]), 0],
        "keyframes.keyframe_1": [str(latent), 0],
        "keyframes.keyframe_2": [str(seeds[1]), 0],
        "walk": [str(schedule), 0],
    }
    assert wires.items() <= graph_to_prompt(page)[str(walk)]["inputs"].items()

    load_workflow(page, serialized(page))
    assert page.evaluate(SLOTS, walk) == grown
    assert wires.items() <= graph_to_prompt(page)[str(walk)]["inputs"].items()

    page.evaluate(DISCONNECT, [walk, "keyframes.keyframe_1"])
    page.wait_for_timeout(100)
    closed = graph_to_prompt(page)[str(walk)]["inputs"]
    assert (closed["keyframes.keyframe_1"], closed["walk"]) == ([str(seeds[1]), 0], [str(schedule), 0])
    assert "keyframes.keyframe_2" not in closed
