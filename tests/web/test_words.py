"""The page shows our words: tooltips on slots that grow, which have them from the locale file only, and help pages."""

from __future__ import annotations

import json

import pytest
from comfy_page import settle
from playwright.sync_api import Page, TimeoutError

from devtools.layout import PACK

WORDS = json.loads((PACK / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
PLACE = """id => { const node = LiteGraph.createNode(id); node.pos = [500, 300]; app.graph.add(node);
                   app.canvas.ds.scale = 1; app.canvas.ds.offset = [0, 0]; app.canvas.setDirty(true, true);
                   const box = app.canvas.canvas.getBoundingClientRect(), slot = node.getConnectionPos(true, 1);
                   return [box.left + slot[0], box.top + slot[1]] }"""
TOOLTIP = ".p-tooltip-text, .node-tooltip"
POINTED_AT = 5  # times


@pytest.mark.both_renderers
@pytest.mark.parametrize("node_id", ["SmoothNoiseWalk", "SmoothConditioningWalk"])
def test_a_slot_that_grows_has_a_tooltip(page: Page, renderer: str, node_id: str):
    x, y = page.evaluate(PLACE, node_id)
    settle(page)
    expected = WORDS[node_id]["inputs"]["keyframes_keyframe_1"]["tooltip"]
    tooltip = page.locator(TOOLTIP).filter(has_text=expected)
    for _ in range(POINTED_AT):  # the page takes a tooltip away when anything moves; the user points again
        point(page, renderer, x, y)
        try:
            tooltip.wait_for(timeout=3_000)
            return
        except TimeoutError:
            page.mouse.move(x + 1, y - 200)
    pytest.fail(f"no tooltip with these words: {expected}")


def point(page: Page, renderer: str, x: float, y: float) -> None:
    """At the slot, as a hand does: by a movement that ends there."""
    if renderer == "nodes2":
        page.get_by_text("keyframe_1", exact=True).hover()
    else:
        page.mouse.move(x + 1, y + 1)
        page.mouse.move(x + 4, y)


@pytest.mark.both_renderers
@pytest.mark.parametrize("node_id", ["SmoothNoiseWalk"])
def test_the_help_page_opens_in_the_page(page: Page, node_id: str):
    page.evaluate(PLACE, node_id)
    page.evaluate(
        "() => { app.canvas.selectItems ? app.canvas.selectItems([app.graph._nodes[0]])"
        " : app.canvas.selectNode(app.graph._nodes[0]) }"
    )
    settle(page)
    page.locator("[data-testid=info-button]").click()
    help_page = page.locator(".node-help-content")
    help_page.get_by_role("heading", name="Inputs").wait_for()
    assert help_page.locator("li code").get_by_text("keyframes", exact=True).count() >= 1
