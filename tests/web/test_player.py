"""The walk player on the Walk Sampler, in both renderers: frames arrive, play, scrub, and are found again."""

from __future__ import annotations

import itertools

import pytest
from comfy_page import graph_to_prompt, load_workflow, made_small, ours, run_graph, serialized, template
from playwright.sync_api import Page, expect

FRAMES, BATCH, STEPS = 12, 4, 2
SEEDS = itertools.count(1000)
PLAYER = ".smooth-diffusion-player"
PLACES = {"SmoothWalkSchedule": {0: FRAMES}, "SmoothWalkSampler": {0: BATCH}, "BasicScheduler": {1: STEPS}}


@pytest.fixture
def walk(page: Page) -> dict:
    """Two walks on the page, small enough to be rendered in seconds, and rendered by no test before."""
    seeds = {"SmoothSeedWalk": {0: f"{next(SEEDS)}, {next(SEEDS)}"}}
    workflow = made_small(template("istd_with_and_without_lora"), {**PLACES, **seeds})
    load_workflow(page, workflow)
    samplers = [node["id"] for node in workflow["nodes"] if node["type"] == "SmoothWalkSampler"]
    expect(page.locator(PLAYER)).to_have_count(len(samplers) + 1)  # and that of the score
    return {"workflow": workflow, "samplers": samplers}


SHOWN = """() => [...document.querySelectorAll(".smooth-diffusion-player")].map(host => ({
    frames: [...host.shadowRoot.querySelectorAll("figure:not([hidden]) canvas")].map(canvas => canvas.dataset.frame),
    place: host.shadowRoot.querySelector(".place").textContent,
    said: host.shadowRoot.querySelector(".said").textContent,
    name: host.shadowRoot.querySelector("button").ariaLabel }))"""


def shown(page: Page, player: int = 0) -> dict:
    """What a player shows: the frames of its walks, its place, its words."""
    return page.evaluate(SHOWN)[player]


def wait_for_frame(page: Page, frame: int, player: int = 0) -> None:
    page.wait_for_function(f"([player, frame]) => ({SHOWN})()[player].frames[0] === String(frame)", arg=[player, frame])


def press(page: Page, key: str, player: int = 0) -> None:
    page.locator(PLAYER).nth(player).locator(".player").press(key)


@pytest.mark.both_renderers
def test_frames_arrive_while_others_are_rendered(page, complaints, walk):
    seen = page.evaluate_handle("""async () => {
        const { api } = await import("/scripts/api.js")
        const seen = []
        api.addEventListener("smooth_diffusion.frames", ({ detail }) => {
            const said = [...document.querySelectorAll(".smooth-diffusion-player")]
                .map(host => host.shadowRoot.querySelector(".said").textContent)
            seen.push([detail.node, detail.first, detail.count, said]) })
        api.addEventListener("execution_success", () => seen.push("end"))
        return seen }""")
    run_graph(page)
    found, first = seen.json_value(), str(walk["samplers"][0])
    assert [item[1:3] for item in found if item[0] == first] == [[start, BATCH] for start in range(0, FRAMES, BATCH)]
    assert found[-1] == "end"
    said = [item[3][0] for item in found if item[0] == first]
    assert said == [f"{count} of {FRAMES} frames rendered" for count in range(BATCH, FRAMES + 1, BATCH)]
    assert ours(complaints) == []


def test_keys_step_through_the_frames(page, complaints, walk):
    outputs = run_graph(page)
    (score,) = outputs[str(walk["samplers"][0])]["smooth_walk"]
    wait_for_frame(page, FRAMES - 1)
    assert f"cv {score['cv']:.3f}" in shown(page)["said"]
    for key, frame in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", FRAMES - 1)):
        press(page, key)
        wait_for_frame(page, frame)
    assert shown(page)["place"].endswith(f"/ {FRAMES - 1}")
    assert ours(complaints) == []


JUMPING = """() => {
    const { graph } = window.app
    const add = (kind, values = {}) => {
        const node = window.LiteGraph.createNode(kind)
        graph.add(node)
        for (const [name, value] of Object.entries(values)) node.widgets.find(one => one.name === name).value = value
        return node }
    const images = { width: 64, height: 64, batch_size: 6 }
    const [dark, light] = [0, 0xffffff].map(color => add("EmptyImage", { ...images, color }))
    const [both, score] = [add("ImageBatch"), add("SmoothISTD")]
    score.pos = [400, 0]
    dark.connect(0, both, 0)
    light.connect(0, both, 1)
    both.connect(0, score, 0)
    return String(score.id) }"""


def test_the_jump_is_where_the_numbers_say(page, complaints):
    """Six black pictures, then six white ones: J and a click on the ring go to the last black one."""
    score = page.evaluate(JUMPING)
    (data,) = run_graph(page)[score]["smooth_walk"]
    assert data["jumps"] == [5]
    wait_for_frame(page, 0)
    assert shown(page)["said"].endswith("Jumps between frames 5-6.")
    press(page, "j")
    wait_for_frame(page, 5)
    press(page, "Home")
    wait_for_frame(page, 0)
    page.locator(PLAYER).get_by_role("button", name="Go to the next jump (J)").click()
    wait_for_frame(page, 5)
    press(page, "End")
    area = page.locator(PLAYER).locator(".u-over").bounding_box()
    page.mouse.click(area["x"] + area["width"] * 6 / 11, area["y"] + 10)  # the step to frame 6 of 0 to 11
    wait_for_frame(page, 5)
    colours = page.evaluate("""() => { const canvas = document.querySelector(".smooth-diffusion-player").shadowRoot
        .querySelector("canvas")
        return [...canvas.getContext("2d").getImageData(32, 32, 1, 1).data] }""")
    assert max(colours[:3]) < 8
    assert ours(complaints) == []


@pytest.mark.both_renderers
def test_a_click_on_the_curve_goes_there(page, walk):
    run_graph(page)
    area = page.locator(PLAYER).first.locator(".u-over").bounding_box()
    for share, frame in ((0.0, 0), (1.0, FRAMES - 1)):
        page.mouse.click(area["x"] + 1 + share * (area["width"] - 2), area["y"] + area["height"] - 2)
        wait_for_frame(page, frame)


def test_it_plays_in_a_loop_and_stops(page, walk):
    run_graph(page)
    press(page, "Home")
    wait_for_frame(page, 0)
    press(page, " ")
    assert shown(page)["name"] == "Pause"
    page.wait_for_function(f"() => Number(({SHOWN})()[0].frames[0]) > 4")
    page.wait_for_function(f"() => ({SHOWN})()[0].frames[0] === '1'")  # it began again
    press(page, " ")
    place = shown(page)["place"]
    page.wait_for_timeout(400)
    assert shown(page)["place"] == place and shown(page)["name"] == "Play"


def test_the_run_before_stays_beside_the_new_one(page, complaints, walk):
    run_graph(page)
    page.evaluate(
        """([id, seeds]) => {
        const node = window.app.graph.nodes.find(node => node.type === "SmoothSeedWalk")
        node.widgets.find(widget => widget.name === "seeds").value = seeds }""",
        [0, f"{next(SEEDS)}, {next(SEEDS)}"],
    )
    run_graph(page)
    page.wait_for_function(f"() => ({SHOWN})()[0].frames.length === 2")
    press(page, "Home")
    page.wait_for_function(f'() => JSON.stringify(({SHOWN})()[0].frames) === \'["0","0"]\'')
    assert [line.split(":")[0] for line in shown(page)["said"].splitlines()] == ["now", "before"]
    page.locator(PLAYER).first.get_by_role("button", name="Show both walks").click()
    assert len(shown(page)["frames"]) == 1
    assert ours(complaints) == []


def test_the_score_shows_both_walks_on_one_time_line(page, complaints, walk):
    outputs = run_graph(page)
    (score_node,) = (node["id"] for node in walk["workflow"]["nodes"] if node["type"] == "SmoothISTD")
    page.wait_for_function(f"() => ({SHOWN})()[2].frames.length === 2")
    press(page, "ArrowRight", player=2)
    press(page, "ArrowRight", player=2)
    page.wait_for_function(f'() => JSON.stringify(({SHOWN})()[2].frames) === \'["2","2"]\'')
    said = shown(page, player=2)["said"].splitlines()
    for line, data in zip(said, outputs[str(score_node)]["smooth_walk"], strict=True):
        assert line.startswith(f"{data['name']}: cv {data['cv']:.3f}, ISTD ")
    assert ours(complaints) == []


def test_a_saved_graph_finds_its_frames_again_and_queues_the_same(page, walk):
    prompt = graph_to_prompt(page)
    run_graph(page)
    said = shown(page)["said"]
    saved = serialized(page)
    load_workflow(page, saved)
    wait_for_frame(page, 0)
    assert shown(page)["said"] == said
    assert graph_to_prompt(page) == prompt


def test_frames_that_are_gone_are_said_to_be(page, walk):
    run_graph(page)
    saved = serialized(page)
    for node in saved["nodes"]:
        if node["type"] == "SmoothWalkSampler":
            node["properties"]["smooth_diffusion.player"]["walk"]["subfolder"] = "smooth_diffusion/none"
    load_workflow(page, saved)
    page.wait_for_function(f"() => ({SHOWN})()[0].said.includes('run the workflow again')")
