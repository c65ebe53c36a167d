"""What the page shows outlives what happens to it: reload, another tab, the history, a subgraph, an interrupt."""

from __future__ import annotations

import itertools

import pytest
from comfy_page import READY, load_workflow, made_small, ours, run_graph, serialized, settle, template
from playwright.sync_api import Error, Page, expect

SEEDS = itertools.count(9000)
SMALL = {"SmoothWalkSchedule": {0: 5, 3: False}, "SmoothWalkSampler": {0: 2}, "BasicScheduler": {1: 2}}
PLAYER, STRIP, RECEIPT = ".smooth-diffusion-player", ".smooth-diffusion-keyframes", ".smooth-diffusion-receipt"
SAID = """() => [...document.querySelectorAll(".smooth-diffusion-player")]
    .map(host => host.shadowRoot.querySelector(".said").textContent)"""
CONVERT = """() => {
    const graph = window.app.graph
    const inside = new Set(graph.nodes.filter(one => ["SmoothWalkSampler", "SmoothSeedWalk", "SmoothWalkSchedule"]
        .includes(one.type)))
    const { subgraph, node } = graph.convertToSubgraph(inside)
    window.app.canvas.setDirty(true, true)
    return node.id }"""
OPEN = """id => { const node = window.app.graph.getNodeById(id)
    window.app.canvas.openSubgraph(node.subgraph, node) }"""


def walk_workflow(**changed: dict) -> dict:
    seeds = {"SmoothSeedWalk": {0: f"{next(SEEDS)}, {next(SEEDS)}, {next(SEEDS)}"}}
    return made_small(template("seed_and_prompt_walk"), {**SMALL, **seeds, **changed})


@pytest.fixture
def ran(page: Page) -> dict:
    """A walk that has been rendered; the words of its sampler's and its score's player."""
    load_workflow(page, walk_workflow())
    outputs = run_graph(page)
    expect(page.locator(STRIP).locator("img")).to_have_count(3)
    return {"outputs": outputs, "said": page.evaluate(SAID)}


def shows_it_all(page: Page, ran: dict) -> None:
    page.wait_for_function(f"said => JSON.stringify(({SAID})()) === JSON.stringify(said)", arg=ran["said"])
    expect(page.locator(STRIP).locator("img")).to_have_count(3)
    page.wait_for_function("""() => [...document.querySelectorAll(".smooth-diffusion-player")]
        .every(host => host.shadowRoot.querySelector("canvas")?.dataset.frame)""")


def test_a_reload_of_the_page(page, server, complaints, ran):
    page.evaluate("() => window.app.extensionManager.setting.set('Comfy.Workflow.Persist', true)")
    page.evaluate("() => window.app.graph.change?.()")
    page.mouse.click(5, 995)  # what was changed is kept after a click
    page.wait_for_timeout(1500)
    page.reload()
    page.wait_for_function(READY)
    shows_it_all(page, ran)
    assert ours(complaints) == []


def test_another_tab_and_back(page, complaints, ran):
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    page.wait_for_function("() => window.app.graph.nodes.length === 0")
    assert page.locator(PLAYER).count() == 0
    page.evaluate("() => window.app.extensionManager.command.execute('Workspace.PreviousOpenedWorkflow')")
    page.wait_for_function("() => window.app.graph.nodes.length > 0")
    shows_it_all(page, ran)
    assert ours(complaints) == []


def test_a_run_taken_from_the_history(page, client, complaints, ran):
    """The page loads the run's graph as it was queued, which knows nothing of what came out, and then its outputs."""
    entry = max(client.get("/history").values(), key=lambda one: one["prompt"][0])
    load_workflow(page, walk_workflow())
    run_graph(page)
    page.evaluate(
        """async ([workflow, outputs]) => {
        await window.app.loadGraphData(workflow)
        for (const extension of window.app.extensions) extension.onNodeOutputsUpdated?.(outputs) }""",
        [entry["prompt"][3]["extra_pnginfo"]["workflow"], entry["outputs"]],
    )
    settle(page)
    shows_it_all(page, ran)
    assert ours(complaints) == []


@pytest.mark.parametrize(
    ("name", "view", "part"),
    [("seed_and_prompt_walk", PLAYER, "canvas[data-frame]"), ("edit_a_picture", RECEIPT, "[data-grade]")],
)
def test_what_comes_from_the_cache_is_shown_too(page, complaints, name, view, part):
    """The same graph in another page, where nothing has been shown yet: the server does not run it again."""
    seeds = {"SmoothSeedWalk": {0: f"{next(SEEDS)}, {next(SEEDS)}, {next(SEEDS)}"}}
    small = {**SMALL, **seeds, "SmoothInvert": {2: 4, 4: 1}, "SmoothReplaySampler": {0: 0}}
    for _ in range(2):
        load_workflow(page, made_small(template(name), small))
        expect(page.locator(view).locator(part)).to_have_count(0)
        run_graph(page)
        page.wait_for_function(f"""() => [...document.querySelectorAll("{view}")]
            .every(host => host.shadowRoot.querySelector("{part}"))""")
    assert ours(complaints) == []


def test_inside_a_subgraph(page, complaints, shot):
    load_workflow(page, walk_workflow())
    node = page.evaluate(CONVERT)
    outputs = run_graph(page)
    (inside,) = (key for key in outputs if key.startswith(f"{node}:") and "smooth_walk" in outputs[key])
    page.evaluate(OPEN, node)
    settle(page)
    (walk,) = outputs[inside]["smooth_walk"]
    player = page.locator(PLAYER).filter(visible=True)
    expect(player).to_have_count(1)
    expect(player.locator(".said")).to_contain_text(f"cv {walk['cv']:.3f}")
    expect(page.locator(STRIP).locator("img")).to_have_count(3)
    page.locator(STRIP).get_by_role("button", name="Add a keyframe with a random seed").click()
    expect(page.locator(STRIP).locator(".card")).to_have_count(4)
    shot("in_a_subgraph")
    assert ours(complaints) == []


def test_outputs_by_the_page_s_own_names_find_a_node_in_a_subgraph(page, complaints):
    """It names such a node by its subgraph's id, the server by the nodes around it."""
    load_workflow(page, walk_workflow())
    node = page.evaluate(CONVERT)
    workflow = serialized(page)
    outputs = run_graph(page)
    (inside,) = (key for key in outputs if key.startswith(f"{node}:") and "smooth_walk" in outputs[key])
    locator = f"{workflow['definitions']['subgraphs'][0]['id']}:{inside.split(':')[1]}"
    page.evaluate(
        """async ([workflow, outputs]) => {
        await window.app.loadGraphData(workflow)
        for (const extension of window.app.extensions) extension.onNodeOutputsUpdated?.(outputs) }""",
        [workflow, {locator: outputs[inside]}],
    )
    page.evaluate(OPEN, node)
    settle(page)
    (walk,) = outputs[inside]["smooth_walk"]
    player = page.locator(PLAYER).filter(visible=True)
    expect(player.locator(".said")).to_contain_text(f"cv {walk['cv']:.3f}")
    assert ours(complaints) == []


def test_an_interrupt_keeps_what_has_arrived_and_the_next_run_is_whole(page, complaints):
    load_workflow(page, walk_workflow(SmoothWalkSchedule={0: 400, 3: False}))
    stopped = page.evaluate("""async () => {
        const { api } = await import("/scripts/api.js")
        const told = new Promise(done => api.addEventListener("execution_interrupted", done, { once: true }))
        let frames = 0
        api.addEventListener("smooth_diffusion.frames", ({ detail }) => {
            frames += detail.count
            if (frames === 4) api.interrupt(null) })
        await window.app.queuePrompt(0)
        await told
        return frames }""")
    assert 4 <= stopped < 400
    page.wait_for_function(f"count => ({SAID})()[0] === `${{count}} of 400 frames rendered`", arg=stopped)
    page.locator(PLAYER).first.locator(".player").press("Home")
    page.wait_for_function("""() => document.querySelector(".smooth-diffusion-player").shadowRoot
        .querySelector("canvas").dataset.frame === "0" """)
    page.evaluate("""() => window.app.graph.nodes.find(one => one.type === "SmoothWalkSchedule")
        .widgets.find(one => one.name === "frames").value = 5""")
    outputs = run_graph(page)
    (walk,) = next(output["smooth_walk"] for output in outputs.values() if "smooth_walk" in output)
    page.wait_for_function(f"cv => ({SAID})()[0].includes(cv)", arg=f"cv {walk['cv']:.3f}")
    assert walk["frames"] == 5
    assert ours(complaints) == []


def test_an_error_is_the_host_s_to_tell_and_the_next_run_is_whole(page, complaints):
    load_workflow(page, walk_workflow(SmoothSeedWalk={0: "1, x, 3"}))
    with pytest.raises(Error, match="entry 2 of the list of seeds, 'x', is not a whole number"):
        run_graph(page)
    page.locator(STRIP).locator(".seed").nth(1).fill(str(next(SEEDS)))
    page.locator(STRIP).locator(".seed").nth(1).press("Enter")
    page.keyboard.press("Escape")
    outputs = run_graph(page)
    assert any("smooth_walk" in output for output in outputs.values())
    assert ours(complaints) == []


@pytest.mark.both_renderers
@pytest.mark.parametrize("light", [True, False])
def test_light_and_dark(page, complaints, ran, shot, light):
    """The text stands out from what is behind it in either theme."""
    page.evaluate(
        "name => window.app.extensionManager.setting.set('Comfy.ColorPalette', name)", "light" if light else "dark"
    )
    page.wait_for_timeout(500)
    shot("light" if light else "dark")
    contrast = page.evaluate("""() => {
        const parse = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number)
        const luminance = ([r, g, b]) => { const [x, y, z] = [r, g, b].map(v => { v /= 255
            return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 })
            return 0.2126 * x + 0.7152 * y + 0.0722 * z }
        const root = document.querySelector(".smooth-diffusion-keyframes").shadowRoot
        return [".seed", ".deeds button"].map(name => {
            const element = root.querySelector(name)
            let behind = element
            while (/, 0\\)|transparent/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement
            const [one, other] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor]
                .map(colour => luminance(parse(colour))).sort((a, b) => b - a)
            return (one + 0.05) / (other + 0.05) }) }""")
    assert min(contrast) >= 4.5  # WCAG 2.2, 1.4.3
    page.evaluate("() => window.app.extensionManager.setting.set('Comfy.ColorPalette', 'dark')")
    assert ours(complaints) == []
