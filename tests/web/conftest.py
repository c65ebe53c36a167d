"""One Chromium for all page tests, and a fresh ComfyUI page for each, in both renderers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from comfy_page import Complaints, open_page
from playwright.sync_api import Browser, Page, sync_playwright

from devtools.browser import FLAGS, find
from devtools.layout import HOST, venv_python
from devtools.server import Server

FIRST, SECOND = "nodes2", "canvas"  # the page's renderers, the newer one first


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves the second renderer to the full run, except where layout or widgets are looked at."""
    for item in items:
        second = getattr(item, "callspec", None) and item.callspec.params.get("renderer") == SECOND
        if second and item.get_closest_marker("both_renderers") is None:
            item.add_marker(pytest.mark.full)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, headless; none is a failure, never a skip."""
    chromium = find(venv_python())
    if chromium is None:
        pytest.fail("no Chromium: install one, or run `python install.py test`, which tries to")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(chromium), headless=True, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(params=[FIRST, SECOND])
def renderer(request: pytest.FixtureRequest) -> str:
    """Which of the page's two renderers draws the nodes."""
    return request.param


@pytest.fixture
def opened(browser: Browser, server: Server, renderer: str) -> Iterator[tuple[Page, Complaints]]:
    """A page without cookies or storage, and what it complains about from the empty graph on."""
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    context.set_default_timeout(60_000)
    page = context.new_page()
    complaints = open_page(page, server.address, nodes2=renderer == "nodes2")
    complaints.clear()
    yield page, complaints
    context.close()


@pytest.fixture
def page(opened: tuple[Page, Complaints]) -> Page:
    """The ComfyUI page, ready, with an empty graph."""
    return opened[0]


@pytest.fixture
def complaints(opened: tuple[Page, Complaints]) -> Complaints:
    """The page's warnings and errors since the empty graph; `complaints.messages`."""
    return opened[1]


@pytest.fixture
def shot(page: Page, renderer: str) -> Callable[[str], None]:
    """shot(name): keep what the page looks like now, in .host/screenshots, to be looked at by people."""

    def take(name: str) -> None:
        folder = HOST / "screenshots" / renderer
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(folder / f"{name}.png"))

    return take
