"""Makes the README's pictures from the example workflows and the demo model, in the real ComfyUI.

    python install.py demo                                first, for .host/ and the demo model
    .host/venv/bin/python -m demo.readme_pictures         writes docs/images/*.webp; needs a Chromium for the page
    .host/venv/bin/python -m demo.readme_pictures walk    only some of them: walk (with its chart), page

Those of the workflows' templates are made by demo.thumbnails.
"""

from __future__ import annotations

import argparse
import io
import json
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from devtools.browser import FLAGS, find
from devtools.client import Client, Prompt
from devtools.demo import stored_prompt
from devtools.layout import PACK, venv_python
from devtools.server import Server
from tests.support.comfy_page import load_workflow, open_page, settle

from .strips import MOST, strips

IMAGES = PACK / "docs" / "images"
EDGE, GAP = 80, 4  # pixels of a frame, and between frames
# What everybody tries first, on the nodes of the template: 1 the checkpoint, 2 and 3 the prompts.
STOCK_BATCH: Prompt = {
    "latents": {
        "class_type": "EmptyLatentImage",
        "_meta": {"title": "Latents"},
        "inputs": {"width": 64, "height": 64, "batch_size": MOST},
    },
    "ksampler": {
        "class_type": "KSampler",
        "_meta": {"title": "KSampler"},
        "inputs": {
            "model": ["1", 0],
            "positive": ["2", 0],
            "negative": ["3", 0],
            "latent_image": ["latents", 0],
            "seed": 12,
            "steps": 25,
            "cfg": 3.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
        },
    },
    "decoded": {
        "class_type": "VAEDecode",
        "_meta": {"title": "Decode"},
        "inputs": {"samples": ["ksampler", 0], "vae": ["1", 2]},
    },
    "batch": {"class_type": "PreviewImage", "_meta": {"title": "Stock batch"}, "inputs": {"images": ["decoded", 0]}},
}
ROWS = {
    "Stock batch": "KSampler, batch of 12, seed 12: unrelated noises",
    "Even steps of the noise": "Seed Walk 12, 99 and Walk Sampler: 12 of 24 frames",
    "Even pacing": "The same with even pacing",
}
VIEW = {"width": 2200, "height": 1500}
# Where the groups of the graph are drawn, in pixels of the page.
GRAPH_ON_SCREEN = """() => { const {scale, offset} = app.canvas.ds, canvas = app.canvas.canvas.getBoundingClientRect();
    const boxes = app.graph._groups.map(g => [g.pos[0], g.pos[1], g.pos[0] + g.size[0], g.pos[1] + g.size[1]]);
    const edge = (i, f) => f(...boxes.map(b => b[i])), at = (v, i) => (v + offset[i]) * scale;
    const x = at(edge(0, Math.min), 0) - 8, y = at(edge(1, Math.min), 1) - 8;
    return {x: canvas.left + x, y: canvas.top + y, width: at(edge(2, Math.max), 0) + 8 - x,
            height: at(edge(3, Math.max), 1) + 8 - y} }"""
VIEWS = {"player": "SmoothWalkSampler", "keyframes": "SmoothSeedWalk"}  # by what their node is
CLOSE = 1.6  # zoom
CLOSE_UP = """([kind, scale]) => {
    const node = app.graph.nodes.find(one => one.type === kind), size = app.canvas.canvas.getBoundingClientRect()
    app.canvas.ds.scale = scale
    app.canvas.ds.offset[0] = size.width / scale / 2 - node.pos[0] - node.size[0] / 2
    app.canvas.ds.offset[1] = size.height / scale / 2 - node.pos[1] - node.size[1] / 2
    app.canvas.setDirty(true, true) }"""
MINUTES = 15 * 60_000  # milliseconds until a workflow must have run


def main(wanted: list[str]) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with Server() as server:
        if not wanted or "walk" in wanted:
            comparison(server.client)
        if not wanted or "page" in wanted:
            for name, picture in page_pictures(server, "seed_and_prompt_walk").items():
                save(picture, name)


def comparison(client: Client) -> None:
    """A stock batch, a walk, and the walk evenly paced, as frames; and the chart of the two walks."""
    prompt = {**stored_prompt("even_pacing"), **STOCK_BATCH}
    outputs = client.run(prompt, MINUTES / 1000)
    walks = {
        words: [
            frame.resize((EDGE, EDGE), Image.Resampling.BICUBIC)
            for frame in pictures(client, outputs[titled(prompt, title)])
        ]
        for title, words in ROWS.items()
    }
    save(strips(walks, GAP), "walk")
    (score,) = (node for node in prompt if prompt[node]["class_type"] == "SmoothISTD")
    save(pictures(client, outputs[score])[0], "speed_chart")


def titled(prompt: Prompt, title: str) -> str:
    """The node that shows pictures under this title."""
    (node,) = (
        node
        for node in prompt
        if prompt[node]["_meta"]["title"] == title and prompt[node]["class_type"] == "PreviewImage"
    )
    return node


def pictures(client: Client, output: dict[str, Any]) -> list[Image.Image]:
    return [opened(client.view(file)) for file in output["images"]]


def page_pictures(server: Server, name: str) -> dict[str, Image.Image]:
    """An example workflow in the page, after it has run: the whole graph, and what the pack's nodes show."""
    workflow = json.loads((PACK / "example_workflows" / f"{name}.json").read_text(encoding="utf-8"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(find(venv_python())), headless=True, args=list(FLAGS))
        page = browser.new_page(viewport=VIEW)
        page.set_default_timeout(MINUTES)
        open_page(page, server.address, nodes2=False)
        load_workflow(page, workflow)
        page.evaluate("""async () => { await app.extensionManager.setting.set("Comfy.Minimap.Visible", false);
                                       await app.queuePrompt(0) }""")
        page.wait_for_function("() => app.graph._nodes.filter(n => n.imgs?.length).length >= 2")
        page.evaluate("() => app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        page.wait_for_timeout(6000)  # for the toast to go, and the video to show
        settle(page)
        box = page.evaluate(GRAPH_ON_SCREEN)
        found = {"workflow": opened(page.screenshot(clip=box))}
        for view, kind in VIEWS.items():
            page.evaluate(CLOSE_UP, [kind, CLOSE])
            page.wait_for_timeout(1500)
            found[view] = opened(page.locator(f".smooth-diffusion-{view}").first.screenshot())
        browser.close()
    return found


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def save(picture: Image.Image, name: str) -> None:
    picture.save(IMAGES / f"{name}.webp", quality=88, method=6)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="*", help="walk (with its chart), page; both if none is named")
    main(parser.parse_args().pictures)
