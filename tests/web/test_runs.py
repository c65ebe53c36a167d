"""Every example workflow is opened, run and looked at in the real page, in both renderers; made small, so that it
takes seconds. test_workflows.py runs some at their full size."""

from __future__ import annotations

import itertools

import pytest
from comfy_page import load_workflow, made_small, notices, ours, run_graph, template

from devtools.layout import PACK

WORKFLOWS = sorted(path.stem for path in (PACK / "example_workflows").glob("*.json"))
RUNS = itertools.count(1)
SMALL = {
    "SmoothWalkSchedule": {0: 6},
    "SmoothWalkSampler": {0: 3},
    "BasicScheduler": {1: 2},
    "SmoothInvert": {2: 4, 4: 2, 5: 2},
    "SmoothTrainingCheck": {3: 2, 9: 3},
    "SmoothISTDBenchmark": {3: 2, 9: 3},
    "SmoothPaceWalk": {1: 4},
    "SmoothReplaySampler": {0: 0},
}
SHOWN = {  # by kind of node: what its view has when it has been run
    "SmoothWalkSampler": (".smooth-diffusion-player", "canvas[data-frame]"),
    "SmoothISTD": (".smooth-diffusion-player", "canvas[data-frame]"),
    "SmoothSeedWalk": (".smooth-diffusion-keyframes", ".card"),
    "SmoothISTDBenchmark": (".smooth-diffusion-benchmark", "tbody tr"),
    "SmoothInvert": (".smooth-diffusion-receipt", "[data-grade]"),
    "SmoothLoRATrainer": (".smooth-diffusion-training", ".strips img"),
}
COUNT = """([view, part]) => [...document.querySelectorAll(view)]
    .filter(host => host.shadowRoot.querySelector(part)).length"""


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_runs_and_every_view_shows_something(page, complaints, renderer, name, shot):
    runs = {
        "SmoothLoRATrainer": {0: f"runs_{renderer}_{next(RUNS)}", 4: 2, 20: 0},
        "SmoothSaveInversion": {0: f"runs_{renderer}/{name}"},
    }
    workflow = made_small(template(name), {**SMALL, **runs})
    load_workflow(page, workflow)
    run_graph(page)
    wanted: dict[tuple[str, str], int] = {}
    for node in workflow["nodes"]:
        if node["type"] in SHOWN and node.get("mode", 0) == 0:
            wanted[SHOWN[node["type"]]] = wanted.get(SHOWN[node["type"]], 0) + 1
    for places, count in wanted.items():
        page.wait_for_function(f"([places, count]) => ({COUNT})(places) === count", arg=[list(places), count])
    page.evaluate("() => window.app.canvas.ds && window.app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    page.wait_for_timeout(300)
    shot(f"run_{name}")
    assert ours(complaints) == []
    assert [notice for notice in notices(page) if notice.kind == "toast"] == []
