"""The ComfyUI page in a real browser: load a workflow, read the graph, collect the complaints."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import ConsoleMessage, Error, Page

from devtools.layout import PACK

READY = """() => !!(window.app && window.app.extensionManager && window.app.graph && window.LiteGraph
                    && window.LiteGraph.registered_node_types["KSampler"] && window.app.canvas)"""
# The page looks for missing models only after the workflow is drawn; milliseconds, measured at under 300.
NOTICE_DELAY = 800
EMPTY = {
    "last_node_id": 0,
    "last_link_id": 0,
    "nodes": [],
    "links": [],
    "groups": [],
    "config": {},
    "extra": {},
    "version": 0.4,
}


@dataclass(frozen=True)
class Message:
    """A complaint of the page: kind (error, warning, pageerror, toast, dialog, card), text, and its file."""

    kind: str
    text: str
    source: str

    @property
    def is_ours(self) -> bool:
        """True when it came from a file of the pack."""
        return "/extensions/smooth-diffusion/" in self.source + self.text


@dataclass
class Complaints:
    """Everything the page wrote as a warning or an error since `clear`."""

    messages: list[Message] = field(default_factory=list)

    def clear(self) -> None:
        self.messages.clear()

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.messages.append(Message(message.type, message.text, message.location.get("url", "")))

    def on_error(self, error: Error) -> None:
        self.messages.append(Message("pageerror", str(error), str(error.stack)))


def open_page(page: Page, address: str, *, nodes2: bool) -> Complaints:
    """Open ComfyUI in the given renderer with an empty graph, and return where its complaints go."""
    complaints = Complaints()
    page.on("console", complaints.on_console)
    page.on("pageerror", complaints.on_error)
    settings = {
        "Comfy.VueNodes.Enabled": nodes2,
        "Comfy.TutorialCompleted": True,
        "Comfy.UseNewMenu": "Top",
        "Comfy.Workflow.Persist": False,
    }
    answer = page.request.post(
        f"{address}/settings", data=json.dumps(settings), headers={"Content-Type": "application/json"}
    )
    if not answer.ok:
        raise AssertionError(f"the server refused the settings: {answer.status} {answer.text()}")
    page.goto(address)
    page.wait_for_function(READY)
    page.wait_for_function("() => document.querySelector('#graph-canvas, canvas') !== null")
    load_workflow(page, EMPTY)
    return complaints


def load_workflow(page: Page, workflow: dict[str, Any]) -> None:
    """Open a UI-format workflow as the page's own menu does, and wait until it is drawn."""
    page.evaluate("async workflow => { await window.app.loadGraphData(workflow) }", workflow)
    settle(page)


def settle(page: Page) -> None:
    """Wait until two frames have been drawn after the last change."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def graph_to_prompt(page: Page) -> dict[str, Any]:
    """The API-format prompt that the page would queue now."""
    return page.evaluate("async () => (await window.app.graphToPrompt()).output")


def serialized(page: Page) -> dict[str, Any]:
    """The UI-format workflow that the page would save now."""
    return page.evaluate("() => JSON.parse(JSON.stringify(window.app.graph.serialize()))")


def notices(page: Page) -> list[Message]:
    """What a user sees complained about now: toasts, dialogs, the card naming missing nodes and models."""
    page.wait_for_timeout(NOTICE_DELAY)
    found = page.evaluate("""() => Object.entries({
            toast: ".p-toast-message", dialog: "[role=dialog], [role=alertdialog]",
            card: "[data-testid=error-overlay]"})
        .flatMap(([kind, selector]) => [...document.querySelectorAll(selector)].map(e => [kind, e]))
        .filter(([, e]) => e.getClientRects().length)
        .map(([kind, e]) => [kind, e.innerText])""")
    return [Message(kind, text, "") for kind, text in found]


def run_graph(page: Page) -> dict[str, Any]:
    """Queue the graph and wait for its end; the ui outputs by node.

    raises: playwright's Error with the node's sentence, where one fails
    """
    return page.evaluate("""async () => {
        const { api } = await import("/scripts/api.js")
        const outputs = {}
        const executed = event => { outputs[event.detail.node] = event.detail.output }
        api.addEventListener("executed", executed)
        const over = new Promise((done, failed) => {
            api.addEventListener("execution_success", done, { once: true })
            api.addEventListener("execution_interrupted", () => failed(new Error("interrupted")), { once: true })
            api.addEventListener("execution_error", event => failed(event.detail.exception_message), { once: true }) })
        await window.app.queuePrompt(0)
        await over
        api.removeEventListener("executed", executed)
        return outputs }""")


def ours(complaints: Complaints) -> list[Message]:
    """Those of the pack's files. In a long test the host's page complains of its own: it looks for models elsewhere."""
    return [message for message in complaints.messages if message.is_ours]


def made_small(workflow: dict[str, Any], values: dict[str, dict[int, Any]]) -> dict[str, Any]:
    """A workflow with other widget values: node type -> place -> value."""
    workflow = json.loads(json.dumps(workflow))
    for node in workflow["nodes"]:
        for place, value in values.get(node["type"], {}).items():
            node["widgets_values"][place] = value
    return workflow


def template(name: str) -> dict[str, Any]:
    """One of the pack's example workflows."""
    return json.loads((PACK / "example_workflows" / f"{name}.json").read_text(encoding="utf-8"))
