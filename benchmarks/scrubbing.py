"""Scrubbing a walk of 1,000 frames on the real page: how many of the browser's animation frames are dropped, and
whether memory grows with every replay.

The browser is Debian's or Playwright's Chromium without a GPU, so it draws in software. A sweep moves the slider over
the whole walk, one mouse move per animation frame, through input events as a mouse makes them. A frame counts as
dropped for each refresh (1/60 s) that passes between two animation frames beyond the first. The same is counted while
nothing happens: that is the machine's own share. Memory is looked at while the page replays by itself, after every
fifth replay: the JavaScript heap after a garbage collection, and what the page's process holds privately.

    .host/venv/bin/python -m benchmarks.scrubbing [frames] [sweeps] [replays]
"""

from __future__ import annotations

import itertools
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from devtools.browser import FLAGS, find
from devtools.layout import venv_python
from devtools.server import Server
from tests.support.comfy_page import load_workflow, made_small, open_page, template

from ._bars import bar
from ._bench import command_line, report

SECONDS = 5.0  # of one sweep there and back
PAUSE = 0.1  # seconds around a replay
FOLDER = "smooth_diffusion/scrubbed"
MOST_DROPPED = 0.02  # of the animation frames of a sweep
SIDE = 512  # pixels of a frame, the largest that the player is given
SWEEP = """async ([frames, milliseconds]) => {
    const root = document.querySelector(".smooth-diffusion-player").shadowRoot
    const slider = root.querySelector("input[type=range]")
    const times = [], seen = new Set()
    let began
    await new Promise(done => {
        const step = now => {
            began ??= now
            times.push(now)
            const share = (now - began) / milliseconds
            if (share >= 1) return done()
            slider.value = Math.round((frames - 1) * (1 - Math.abs(2 * share - 1)))
            slider.dispatchEvent(new Event("input", { bubbles: true }))
            seen.add(root.querySelector("canvas").dataset.frame)
            requestAnimationFrame(step) }
        requestAnimationFrame(step) })
    return [times, seen.size] }"""
IDLE = """async milliseconds => {
    const times = []
    await new Promise(done => {
        const step = now => { times.push(now); now - times[0] < milliseconds ? requestAnimationFrame(step) : done() }
        requestAnimationFrame(step) })
    return times }"""
REPLAYS = (
    """([count, frames, milliseconds]) => {
    const node = window.app.graph.nodes.find(one => one.type === "SmoothWalkSampler")
    const sweep = """
    + SWEEP
    + """
    window.smoothHeaps = []
    const replay = async () => {
        node.onConfigure({})
        await sweep([frames, milliseconds])
        gc()
        window.smoothHeaps.push(performance.memory.usedJSHeapSize)
        if (window.smoothHeaps.length < count) setTimeout(replay, 0) }
    replay() }"""
)


def pictures(folder: Path, frames: int) -> None:
    """A walk's frames as the node leaves them: smooth noise that moves, so that a file has the size of a real one."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    ends = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).resize((SIDE, SIDE)), dtype=np.float32
        )
        for _ in range(2)
    ]
    for number in range(frames):
        mixed = ends[0] + (ends[1] - ends[0]) * number / (frames - 1)
        Image.fromarray(mixed.astype(np.uint8)).save(folder / f"{number:05}.jpg", quality=90)


def dropped(times: list[float]) -> tuple[int, int]:
    """Refreshes without an animation frame, and all of them."""
    refreshes = np.round(np.diff(times) * 60 / 1000).clip(1)
    return int((refreshes - 1).sum()), int(refreshes.sum())


def opened(page: Page, server: Server, frames: int, nodes2: bool) -> None:
    open_page(page, server.address, nodes2=nodes2)
    workflow = made_small(template("seed_and_prompt_walk"), {})
    rng = np.random.default_rng(1)
    walk = {
        "name": "now",
        "subfolder": FOLDER,
        "total": frames,
        "distances": rng.uniform(1, 2, frames - 1).tolist(),
        "jumps": [frames // 2],
        "cv": 0.2,
        "istd": 0.3,
        "mean": 1.5,
        "keyframes": [],
    }
    for node in workflow["nodes"]:
        if node["type"] == "SmoothWalkSampler":
            node["properties"] = {**node.get("properties", {}), "smooth_diffusion.player": {"walk": walk}}
    load_workflow(page, workflow)
    page.wait_for_function("""() => document.querySelector(".smooth-diffusion-player")?.shadowRoot
        .querySelector("canvas")?.dataset.frame === "0" """)


@contextmanager
def chromium() -> Iterator[str]:
    """A Chromium of our own; the address at which it is controlled."""
    with tempfile.TemporaryDirectory(prefix="smooth-chromium-") as profile:
        command = [
            str(find(venv_python())),
            *FLAGS,
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "--js-flags=--expose-gc",
            "--enable-precise-memory-info",
            "--window-size=1600,1000",
            "about:blank",
        ]
        quiet = subprocess.DEVNULL
        running = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            port = Path(profile) / "DevToolsActivePort"
            while not port.exists() or not port.read_text(encoding="utf-8").strip():
                if running.poll() is not None:
                    raise ChildProcessError(f"Chromium ended with exit code {running.returncode} before it was ready")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port.read_text(encoding='utf-8').splitlines()[0]}"
        finally:
            running.terminate()
            running.wait()


def page_process(browser: Browser) -> int:
    """The largest of the browser's pages."""
    found = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    return max((process["id"] for process in found if process["type"] == "renderer"), key=resident)


def resident(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))


def main(frames: int = 1000, sweeps: int = 3, replays: int = 20) -> None:
    with Server() as server, sync_playwright() as playwright:
        pictures(server.base / "temp" / FOLDER, frames)
        for nodes2 in (False, True):
            with chromium() as address:
                browser = playwright.chromium.connect_over_cdp(address)
                page = browser.contexts[0].pages[0]
                opened(page, server, frames, nodes2)
                page.wait_for_timeout(3000)
                idle = dropped(page.evaluate(IDLE, SECONDS * 1000))
                swept = [page.evaluate(SWEEP, [frames, SECONDS * 1000]) for _ in range(sweeps)]
                page.evaluate(REPLAYS, [replays, frames, SECONDS * 1000])
                process = page_process(browser)
                browser.close()  # it goes on by itself: watched, a browser keeps every answer of the server
                held = []
                for _ in range(replays):
                    time.sleep(SECONDS + PAUSE)
                    held.append(resident(process))
                page = playwright.chromium.connect_over_cdp(address).contexts[0].pages[0]
                page.wait_for_function("count => window.smoothHeaps.length === count", arg=replays)
                heaps = page.evaluate("() => window.smoothHeaps")
            counted = [dropped(times) for times, _ in swept]
            shares = [round(lost / whole, 4) for lost, whole in counted]
            memory = {"heap_mb": every_fifth(heaps), "process_mb": every_fifth(held)}
            report(
                {
                    "benchmark": "scrubbing",
                    "renderer": "Nodes 2.0" if nodes2 else "canvas",
                    "frames": frames,
                    "dropped": shares,
                    "dropped_idle": round(idle[0] / idle[1], 4),
                    "pictures_shown": [shown for _, shown in swept],
                    "replays": replays,
                    **memory,
                    "bars": {"dropped, worst sweep": bar(max(shares), at_most=MOST_DROPPED), **steady(memory)},
                }
            )


def every_fifth(sizes: list[int]) -> list[float]:
    return [round(size / 2**20, 1) for size in sizes[4::5]]


def steady(memory: dict[str, list[float]]) -> dict[str, dict]:
    """The bars of memory that must not grow with every replay."""
    return {
        f"{name} grows every time": bar(all(a < b for a, b in itertools.pairwise(sizes)), equals=False)
        for name, sizes in memory.items()
    }


if __name__ == "__main__":
    command_line(main, __doc__)
