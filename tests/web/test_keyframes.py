"""The keyframe strip on Seed Walk, in both renderers: it edits ordinary inputs, and nothing else."""

from __future__ import annotations

import itertools
import re

import pytest
from comfy_page import graph_to_prompt, load_workflow, made_small, ours, run_graph, serialized, settle, template
from playwright.sync_api import Locator, Page, expect

SMALL = {"SmoothWalkSchedule": {0: 5, 3: False}, "SmoothWalkSampler": {0: 5}, "BasicScheduler": {1: 2}}
SEEDS = itertools.count(5000)
CONNECT = """([kind, node, input, value]) => {
    const graph = window.app.graph
    const source = window.LiteGraph.createNode(kind)
    graph.add(source)
    if (value !== null) source.widgets[0].value = value
    const target = graph.nodes.find(one => one.type === node)
    return source.connect(0, target, target.inputs.findIndex(one => one.name === input)) != null }"""


class Strip:
    """The strip of the page's one Seed Walk, and what its graph would queue."""

    def __init__(self, page: Page):
        self.page = page
        self.element = page.locator(".smooth-diffusion-keyframes")

    def card(self, place: int) -> Locator:
        return self.element.locator(".card").nth(place)

    def stretch(self, place: int) -> Locator:
        return self.element.locator(".stretch button").nth(place)

    def seeds(self) -> list[str]:
        """As the cards show them."""
        return [box.input_value() for box in self.element.locator(".seed").all()]

    def easings(self) -> list[str]:
        return [button.get_attribute("data-easing") for button in self.element.locator(".stretch button").all()]

    def said(self) -> str:
        return self.element.locator(".said").inner_text()

    def queued(self, kind: str, name: str) -> object:
        """The value of an input in the prompt that the page would queue."""
        (node,) = (node for node in graph_to_prompt(self.page).values() if node["class_type"] == kind)
        return node["inputs"].get(name)

    def queued_seeds(self) -> list[str]:
        return self.queued("SmoothSeedWalk", "seeds").split(", ")

    def press(self, place: int, name: str) -> None:
        self.card(place).get_by_role("button", name=name).click()


@pytest.fixture
def strip(page: Page) -> Strip:
    """Three seeds that no other test has rendered."""
    seeds = ", ".join(str(next(SEEDS)) for _ in range(3))
    load_workflow(page, made_small(template("seed_and_prompt_walk"), {**SMALL, "SmoothSeedWalk": {0: seeds}}))
    made = Strip(page)
    expect(made.element.locator(".card")).to_have_count(3)
    return made


@pytest.mark.both_renderers
def test_cards_are_the_seeds_and_every_deed_edits_the_input(strip, complaints):
    first, second, third = strip.seeds()
    assert strip.queued_seeds() == [first, second, third]
    strip.press(1, "Double this keyframe (D)")
    assert strip.seeds() == strip.queued_seeds() == [first, second, second, third]
    strip.press(0, "Take this keyframe away (Delete)")
    assert strip.seeds() == strip.queued_seeds() == [second, second, third]
    strip.press(2, "Draw another seed (R)")
    assert strip.seeds() == strip.queued_seeds() and strip.seeds()[:2] == [second, second] and strip.seeds()[2] != third
    strip.element.get_by_role("button", name="Add a keyframe with a random seed").click()
    assert strip.seeds() == strip.queued_seeds() and len(strip.seeds()) == 4
    strip.card(0).locator(".seed").fill("18446744073709551615")
    strip.card(0).locator(".seed").press("Enter")
    assert strip.queued_seeds()[0] == strip.seeds()[0] == "18446744073709551615"
    assert ours(complaints) == []


def test_two_keyframes_stay(strip):
    strip.press(0, "Take this keyframe away (Delete)")
    assert strip.card(0).get_by_role("button", name="Take this keyframe away (Delete)").is_disabled()
    strip.card(0).press("Delete")
    assert len(strip.queued_seeds()) == 2


def test_the_keyboard_moves_doubles_and_takes_away(strip):
    first, second, third = strip.seeds()
    strip.card(0).press("Alt+ArrowRight")
    assert strip.queued_seeds() == [second, first, third]
    expect(strip.card(1)).to_be_focused()
    strip.card(1).press("Alt+ArrowRight")
    strip.card(2).press("Alt+ArrowRight")  # it is the last already
    assert strip.queued_seeds() == strip.seeds() == [second, third, first]
    strip.card(2).press("ArrowLeft")
    expect(strip.card(1)).to_be_focused()
    strip.card(1).press("d")
    assert strip.queued_seeds() == [second, third, third, first]
    strip.card(2).press("Delete")
    assert strip.queued_seeds() == [second, third, first]
    strip.card(0).press("r")
    assert strip.queued_seeds()[1:] == [third, first] and strip.queued_seeds()[0] != second


@pytest.mark.both_renderers
@pytest.mark.parametrize(("start", "end"), [(0, 2), (2, 0), (1, 0)])
def test_a_card_is_dragged_to_another_place(page, strip, complaints, start, end):
    seeds = strip.seeds()
    source, target = (strip.card(place).locator(".picture").bounding_box() for place in (start, end))
    page.mouse.move(source["x"] + source["width"] / 2, source["y"] + source["height"] / 2)
    page.mouse.down()
    for step in range(1, 6):
        page.mouse.move(
            *(
                source[axis] + (target[axis] - source[axis]) * step / 5 + target[size] / 2
                for axis, size in (("x", "width"), ("y", "height"))
            )
        )
    expect(strip.card(start)).to_have_class(re.compile("dragged"))
    expect(strip.card(end)).to_have_class(re.compile("after" if end > start else "before"))
    page.mouse.up()
    seeds.insert(end, seeds.pop(start))
    expect(strip.card(end).locator(".seed")).to_have_value(seeds[end])
    assert strip.seeds() == strip.queued_seeds() == seeds
    assert ours(complaints) == []


def test_a_typed_list_shows_at_once_and_what_is_no_seed_is_named(page, strip):
    page.evaluate(
        """text => {
        const node = window.app.graph.nodes.find(one => one.type === "SmoothSeedWalk")
        const widget = node.widgets.find(one => one.name === "seeds")
        widget.value = text
        widget.callback(text) }""",
        "4; 5 x6",
    )
    assert strip.seeds() == ["4", "5", "x6"]
    assert strip.said() == "Keyframe 3: x6 is no seed; type a whole number."
    strip.press(2, "Take this keyframe away (Delete)")
    assert strip.said() == "" and strip.queued_seeds() == ["4", "5"]


def test_pictures_are_those_of_the_last_run_and_of_their_seed_alone(page, strip, complaints, shot):
    run_graph(page)
    expect(strip.element.locator(".picture img")).to_have_count(3)
    walk = page.evaluate("""() => window.app.graph.nodes.find(node => node.type === "SmoothWalkSampler")
        .properties["smooth_diffusion.player"].walk""")
    for place, frame in enumerate((0, 2, 4)):
        address = strip.card(place).locator("img").get_attribute("src")
        assert f"filename={frame:05}.jpg" in address and walk["subfolder"].split("/")[1] in address
        page.wait_for_function(
            "img => img.complete && img.naturalWidth === 64", arg=strip.card(place).locator("img").element_handle()
        )
    shot("keyframe_strip")
    strip.press(1, "Draw another seed (R)")
    assert [strip.card(place).locator("img").count() for place in range(3)] == [1, 0, 1]
    strip.card(2).press("Alt+ArrowLeft")
    assert "filename=00004.jpg" in strip.card(1).locator("img").get_attribute("src")
    run_graph(page)
    expect(strip.element.locator(".picture img")).to_have_count(3)
    assert ours(complaints) == []


def test_a_click_bends_one_stretch_in_the_walk_schedule(page, strip, complaints):
    assert strip.easings() == ["linear", "linear"] and strip.queued("SmoothWalkSchedule", "easings") == ""
    strip.stretch(1).click()
    assert strip.queued("SmoothWalkSchedule", "easings") == "linear, ease in"
    assert strip.easings() == ["linear", "ease in"]
    strip.stretch(0).click(modifiers=["Shift"])
    assert strip.queued("SmoothWalkSchedule", "easings") == "ease in and out, ease in"
    strip.stretch(0).click()
    strip.stretch(1).click(modifiers=["Shift"])
    assert strip.queued("SmoothWalkSchedule", "easings") == ""
    assert ours(complaints) == []


def test_easings_follow_the_widgets_of_the_schedule(page, strip):
    page.evaluate("""() => {
        const node = window.app.graph.nodes.find(one => one.type === "SmoothWalkSchedule")
        const set = (name, value) => { node.widgets.find(one => one.name === name).value = value }
        set("easing", "ease out"); set("easing_over", "between keyframes"); set("loop", true) }""")
    strip.card(0).hover()
    assert strip.easings() == ["ease out"] * 3  # the third leads back
    strip.stretch(2).click()
    assert strip.queued("SmoothWalkSchedule", "easings") == "ease out, ease out, ease in and out"


def test_seeds_that_come_over_a_wire_are_not_changed_here(page, strip):
    assert page.evaluate(CONNECT, ["PrimitiveString", "SmoothSeedWalk", "seeds", "1, 2"])
    strip.element.hover()
    expect(strip.element.locator(".said")).to_have_text("The seeds come over a wire; they are changed where it begins.")
    assert strip.card(0).get_by_role("button", name="Double this keyframe (D)").is_disabled()


def test_a_saved_graph_has_the_strip_s_seeds_and_no_strip(page, strip):
    strip.press(0, "Double this keyframe (D)")
    strip.stretch(0).click()
    prompt, seeds = graph_to_prompt(page), strip.seeds()
    saved = serialized(page)
    (walk,) = (node for node in saved["nodes"] if node["type"] == "SmoothSeedWalk")
    assert walk["widgets_values"][0] == ", ".join(seeds) and len(walk["widgets_values"]) == 2
    load_workflow(page, saved)
    settle(page)
    assert strip.seeds() == seeds and graph_to_prompt(page) == prompt
