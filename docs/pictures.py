"""Makes the README's pictures from the example workflows and the demo model, in the real ComfyUI.

    python install.py demo                         first, for .host/ and the demo model
    .host/venv/bin/python docs/pictures.py         writes docs/images/*.webp; needs a Chromium for the screenshot
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
from comfy_page import load_workflow, open_page, settle  # noqa: E402
from devtools.browser import FLAGS, find  # noqa: E402
from devtools.client import Client, Prompt  # noqa: E402
from devtools.layout import venv_python  # noqa: E402
from devtools.server import Server  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

IMAGES = ROOT / "docs" / "images"
COLUMNS, EDGE, GAP, HEAD = 12, 80, 4, 26  # frames per row, and pixels
INK, PAPER = (40, 40, 40), (255, 255, 255)
VIEW = {"width": 1600, "height": 1000}
MINUTES = 15 * 60_000  # milliseconds until a workflow must have run


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with Server() as server:
        comparison = stored("istd_with_and_without_lora")
        outputs = server.client.run(comparison, MINUTES / 1000)
        walks = {title: pictures(server.client, outputs[titled(comparison, title)])
                 for title in ("Without the Smooth-LoRA", "With the Smooth-LoRA")}
        save(strip(walks), "walk")
        (score,) = (node for node in comparison if comparison[node]["class_type"] == "SmoothISTD")
        save(pictures(server.client, outputs[score])[0], "speed_chart")
        save(screenshot(server, "seed_and_prompt_walk"), "workflow")


def stored(name: str) -> Prompt:
    """What the page queues for an example workflow."""
    return json.loads((ROOT / "tests/host/prompts" / f"{name}.json").read_text(encoding="utf-8"))


def titled(prompt: Prompt, title: str) -> str:
    (node,) = (node for node in prompt if prompt[node]["_meta"]["title"] == title)
    return node


def pictures(client: Client, output: dict[str, Any]) -> list[Image.Image]:
    return [Image.open(io.BytesIO(client.view(file))).convert("RGB") for file in output["images"]]


def strip(walks: dict[str, list[Image.Image]]) -> Image.Image:
    """One row of evenly chosen frames per walk, the first and the last among them."""
    row = HEAD + EDGE + GAP
    sheet = Image.new("RGB", (COLUMNS * (EDGE + GAP) - GAP, len(walks) * row), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for top, (title, frames) in zip(range(0, len(walks) * row, row), walks.items(), strict=True):
        draw.text((0, top + 4), title, INK, font)
        for column in range(COLUMNS):
            frame = frames[round(column * (len(frames) - 1) / (COLUMNS - 1))]
            sheet.paste(frame.resize((EDGE, EDGE), Image.Resampling.BICUBIC), (column * (EDGE + GAP), top + HEAD))
    return sheet


def screenshot(server: Server, name: str) -> Image.Image:
    """An example workflow in the page, after it has run."""
    workflow = json.loads((ROOT / "example_workflows" / f"{name}.json").read_text(encoding="utf-8"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(find(venv_python())), headless=True, args=list(FLAGS))
        page = browser.new_page(viewport=VIEW)
        page.set_default_timeout(MINUTES)
        open_page(page, server.address, nodes2=False)
        load_workflow(page, workflow)
        page.evaluate("async () => { await window.app.queuePrompt(0) }")
        page.wait_for_function("async () => { const q = await (await fetch('/queue')).json();"
                               " return !q.queue_running.length && !q.queue_pending.length }")
        page.evaluate("() => { document.querySelectorAll('.p-toast-message').forEach(e => e.remove()) }")
        page.evaluate("() => window.app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        page.wait_for_timeout(3000)
        settle(page)
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        browser.close()
    return picture


def save(picture: Image.Image, name: str) -> None:
    picture.save(IMAGES / f"{name}.webp", quality=88, method=6)


if __name__ == "__main__":
    main()
