"""The example workflows and the Smooth Walk blueprint in the real page, in both renderers.

The server takes API-format prompts, which only the page can make of a saved workflow. What it makes of
`example_workflows/<name>.json` is kept in tests/host/prompts/<name>.json, for the demo and the headless tests. After
a workflow was changed, this makes the prompts again:

    python install.py test tests/web/test_workflows.py --update-snapshot
"""

from __future__ import annotations

import io
import json
import time
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from comfy_page import graph_to_prompt, load_workflow, notices, settle, template
from PIL import Image
from playwright.sync_api import Page, expect

from devtools.layout import PACK
from devtools.server import Client

WORKFLOWS = sorted(path.stem for path in (PACK / "example_workflows").glob("*.json"))
PROMPTS = PACK / "tests" / "host" / "prompts"
MINUTES = 10  # for a walk, on the slowest machine that is worth waiting for
TITLE_HEIGHT = 30  # of a node, above its position

BOXES = """title => window.app.graph.nodes.map(node => ({
    name: node.title, left: node.pos[0], top: node.pos[1] - title,
    right: node.pos[0] + node.size[0], bottom: node.pos[1] + node.size[1] }))"""
WORKFLOW_NOW = "async () => JSON.parse(JSON.stringify((await window.app.graphToPrompt()).workflow))"
SHOWN = """() => window.app.graph.nodes
    .filter(node => [...(node.imgs ?? []), ...document.querySelectorAll(`[data-node-id="${node.id}"] img`)]
        .some(img => img.naturalWidth >= 64))
    .map(node => node.title).sort()"""
TEXT = """title => { const node = window.app.graph.nodes.find(node => node.title === title)
    return node.widgets.find(widget => widget.name === "preview_text").value }"""
LISTED = """() => window.app.graph.nodes.find(node => node.type === "SmoothLoadInversion").widgets[0].options.values"""
ADD = """([kind, x, y, values]) => {
    const node = window.LiteGraph.createNode(kind)
    node.pos = [x, y]
    window.app.graph.add(node)
    for (const [name, value] of Object.entries(values)) node.widgets.find(w => w.name === name).value = value
    return node.id }"""
CONNECT = """([from, output, to, name]) => {
    const target = window.app.graph.getNodeById(to)
    const slot = target.inputs.findIndex(input => input.name === name)
    return window.app.graph.getNodeById(from).connect(output, target, slot) != null }"""
BLUEPRINTS = "() => window.app.graph.nodes.filter(node => node.subgraph).map(node => node.id)"
SET_WIDGETS = """([id, values]) => {
    const node = window.app.graph.getNodeById(id)
    for (const [name, value] of Object.entries(values)) node.widgets.find(w => w.name === name).value = value }"""


def structure(saved: dict[str, Any]) -> dict[str, Any]:
    """What a workflow says, without where its nodes lie: the renderers measure them differently."""
    nodes = [
        {key: value for key, value in node.items() if key not in ("pos", "size", "order")} for node in saved["nodes"]
    ]
    return {
        "nodes": sorted(nodes, key=lambda node: node["id"]),
        "links": sorted(saved["links"]),
        "groups": [group["title"] for group in saved["groups"]],
    }


def overlapping(boxes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The titles of nodes that cover each other."""
    return [
        (one["name"], other["name"])
        for one, other in combinations(boxes, 2)
        if max(one["left"], other["left"]) < min(one["right"], other["right"])
        and max(one["top"], other["top"]) < min(one["bottom"], other["bottom"])
    ]


def pictures(client: Client, files: list[dict[str, str]]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(io.BytesIO(client.view(file)))) for file in files])


def run_on_page(page: Page, client: Client) -> dict[str, Any]:
    """Press Run as its key does, wait until it has run, and return the outputs by node id."""
    before = set(client.get("/history"))
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.QueuePrompt')")
    deadline = time.monotonic() + MINUTES * 60
    while not (ended := set(client.get("/history")) - before):
        assert time.monotonic() < deadline, "the prompt queued on the page did not end"
        page.wait_for_timeout(200)
    entry = client.get(f"/history/{ended.pop()}").popitem()[1]
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"]
    return entry["outputs"]


def search_and_add(page: Page, words: str) -> None:
    """Double-click the empty canvas, type, and take the first hit, as a user does."""
    box = page.get_by_role("dialog").locator("input").first
    for _ in range(20):  # a busy machine takes two slow clicks for no double-click
        page.mouse.dblclick(800, 700)
        page.wait_for_timeout(500)
        if box.is_visible():
            break
    expect(box).to_be_focused()
    page.keyboard.type(words, delay=20)
    expect(page.get_by_text(words, exact=True).first).to_be_visible()
    page.wait_for_timeout(500)  # the list is filtered some time after the last key
    page.keyboard.press("Enter")
    settle(page)
    page.mouse.click(800, 700)  # a node from the search follows the mouse until a click puts it down


@pytest.mark.both_renderers
@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_opens_silently_and_as_it_was_saved(page, complaints, request, name):
    load_workflow(page, template(name))
    made = graph_to_prompt(page)
    if request.config.getoption("--update-snapshot"):
        (PROMPTS / f"{name}.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    assert made == json.loads((PROMPTS / f"{name}.json").read_text(encoding="utf-8"))
    assert structure(page.evaluate(WORKFLOW_NOW)) == structure(template(name))
    assert overlapping(page.evaluate(BOXES, TITLE_HEIGHT)) == []
    assert notices(page) == []
    assert complaints.messages == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scheduled_strength", ["LoRA all the way", "LoRA in the first 40 %", "Smoothness Score (ISTD)"]),
        (
            "invert_and_reconstruct",
            ["Chart: ddim", "Chart: exact", "Chart: fixed_point", "Save the reconstruction", "The picture"],
        ),
        ("edit_a_picture", ["Edited: edit_friendly", "Edited: exact and Prompt Switch", "The picture"]),
    ],
)
def test_a_workflow_runs_from_the_page_and_shows_its_pictures(page, complaints, client, name, expected):
    load_workflow(page, template(name))
    run_on_page(page, client)
    page.wait_for_function(f"titles => JSON.stringify(({SHOWN})()) === JSON.stringify(titles)", arg=expected)
    assert complaints.messages == []
    assert notices(page) == []


def test_a_receipt_is_shown_and_a_kept_inversion_is_listed_after_r_was_pressed(page, complaints, client):
    load_workflow(page, template("invert_and_reconstruct"))
    run_on_page(page, client)
    page.wait_for_function(f"() => ({TEXT})('Receipt: exact').includes('latent error')")
    page.wait_for_function(f"() => ({TEXT})('Saved as') !== ''")
    kept = page.evaluate(TEXT, "Saved as")
    page.mouse.click(800, 990)  # the empty canvas, so that it gets the key
    page.keyboard.press("r")
    page.wait_for_function(f"kept => ({LISTED})().includes(kept)", arg=kept)
    assert complaints.messages == []


def test_a_workflow_takes_another_keyframe(page, complaints):
    load_workflow(page, template("keyframes_from_any_node"))
    ids = {node["_meta"]["title"]: key for key, node in graph_to_prompt(page).items()}
    walk, text = int(ids["Conditioning Walk"]), int(ids["Negative prompt"])
    for number in (2, 3):
        assert page.evaluate(CONNECT, [text, 0, walk, f"keyframes.keyframe_{number}"])
        page.wait_for_timeout(100)  # the page grows slots after the click has been handled
    load_workflow(page, page.evaluate(WORKFLOW_NOW))
    inputs = graph_to_prompt(page)[str(walk)]["inputs"]
    assert {name: wire for name, wire in inputs.items() if "." in name} == {
        "keyframes.keyframe_0": [ids["Text keyframe 0"], 0],
        "keyframes.keyframe_1": [ids["Text keyframe 1"], 0],
        "keyframes.keyframe_2": [str(text), 0],
        "keyframes.keyframe_3": [str(text), 0],
    }
    assert complaints.messages == []


def test_the_template_browser_shows_and_opens_them(page):
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("smooth-diffusion", exact=True).click()
    cards = dialog.locator("[data-testid^=template-workflow-]")
    expect(cards).to_have_count(len(WORKFLOWS))
    assert sorted(card.get_attribute("data-testid") for card in cards.all()) == [
        f"template-workflow-{name}" for name in WORKFLOWS
    ]
    for name in WORKFLOWS:
        card = dialog.locator(f"[data-testid=template-workflow-{name}]")
        card.scroll_into_view_if_needed()  # only then does the page load its picture
        picture = card.locator("img").first
        own = list(Image.open(PACK / "example_workflows" / f"{name}.jpg").size)
        # For a card without a picture of its own the page shows one of another size.
        page.wait_for_function(
            "([img, size]) => img.naturalWidth === size[0] && img.naturalHeight === size[1]",
            arg=[picture.element_handle(), own],
        )
    dialog.locator("[data-testid=template-workflow-keyframes_from_any_node]").click()
    expect(dialog).to_have_count(0)
    settle(page)
    kept = json.loads((PROMPTS / "keyframes_from_any_node.json").read_text(encoding="utf-8"))
    assert graph_to_prompt(page) == kept


def test_the_smooth_walk_blueprint_is_used_like_a_ksampler(page, complaints, client):
    search_and_add(page, "Smooth Walk")
    page.wait_for_function("() => window.app.graph.nodes.length === 1")
    (walk,) = page.evaluate(BLUEPRINTS)
    loader = page.evaluate(ADD, ["CheckpointLoaderSimple", -800, 0, {"ckpt_name": "smooth_demo.safetensors"}])
    text = page.evaluate(ADD, ["CLIPTextEncode", -400, 0, {"text": "a red circle on a blue background"}])
    empty = page.evaluate(ADD, ["CLIPTextEncode", -400, 300, {"text": ""}])
    size = page.evaluate(ADD, ["EmptyLatentImage", -400, 600, {"width": 64, "height": 64}])
    decode = page.evaluate(ADD, ["VAEDecode", 800, 0, {}])
    decoded, images = (page.evaluate(ADD, ["PreviewImage", 1200, 400 * row, {}]) for row in range(2))
    for source, output, target, name in [
        (loader, 1, text, "clip"),
        (loader, 1, empty, "clip"),
        (loader, 0, walk, "model"),
        (text, 0, walk, "positive"),
        (empty, 0, walk, "negative"),
        (size, 0, walk, "latent_image"),
        (loader, 2, walk, "vae"),
        (loader, 2, decode, "vae"),
        (walk, 0, decode, "samples"),
        (decode, 0, decoded, "images"),
        (walk, 1, images, "images"),
    ]:
        assert page.evaluate(CONNECT, [source, output, target, name]), name
    page.evaluate(
        SET_WIDGETS,
        [
            walk,
            {
                "seeds": "3, 41",
                "frames": 3,
                "loop": True,
                "steps": 2,
                "cfg": 3,
                "sampler_name": "heun",
                "scheduler": "simple",
                "denoise": 1,
            },
        ],
    )
    inside = {node["class_type"]: node["inputs"] for node in graph_to_prompt(page).values()}
    assert inside["SmoothSeedWalk"]["seeds"] == "3, 41"
    assert (inside["SmoothWalkSchedule"]["frames"], inside["SmoothWalkSchedule"]["loop"]) == (3, True)
    assert (inside["BasicScheduler"]["steps"], inside["BasicScheduler"]["scheduler"]) == (2, "simple")
    assert (inside["CFGGuider"]["cfg"], inside["KSamplerSelect"]["sampler_name"]) == (3, "heun")
    outputs = run_on_page(page, client)
    both = [pictures(client, outputs[str(node)]["images"]) for node in (decoded, images)]
    assert both[0].shape == both[1].shape == (3, 64, 64, 3)
    assert np.array_equal(*both)
    assert complaints.messages == []
    assert notices(page) == []
