"""`install.py demo`: render the example walks on the real server and leave what came out in demo-out/."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .client import Client, HostError, Prompt
from .layout import BASE, DEMO_MODELS, DEMO_OUT, HOST, PACK, venv_python
from .report import Failure, say
from .server import Server

PROMPTS = PACK / "tests" / "host" / "prompts"
WALK = "seed_and_prompt_walk"
COMPARISON = "istd_with_and_without_lora"
LONGEST = 3600.0  # seconds for one workflow, on the slowest machine that is still worth waiting for


def run_demo() -> int:
    """Render both workflows into demo-out/ and print the ISTD with and without the Smooth-LoRA."""
    assemble_demo()
    walk, comparison = stored_prompt(WALK), stored_prompt(COMPARISON)
    say("starting ComfyUI")
    with Server() as server:
        _render(server, WALK, walk)
        outputs = _render(server, COMPARISON, comparison)
        _keep_frames(server, comparison, outputs, DEMO_OUT / COMPARISON / "frames")
    _make("strips", DEMO_OUT / COMPARISON, "the walks could not be put side by side")
    scores = scores_of(comparison, outputs)
    if not scores:
        raise Failure(f"{COMPARISON} ran but gave no score")
    for line in scores:
        say(line)
    say(f"both walks, one above the other: {DEMO_OUT / COMPARISON / 'strips.png'}")
    say(f"everything is in {DEMO_OUT}")
    return 0


def serve(port: int) -> int:
    """Leave the ComfyUI page open, with the pack and the demo checkpoint, until Ctrl-C."""
    assemble_demo()
    say("starting ComfyUI")
    with Server(base=BASE, port=port) as server:
        draw_training_pictures(server.input)
        say(f"open {server.address} (example workflows: Templates, smooth-diffusion); Ctrl-C ends it")
        try:
            server.wait()
        except KeyboardInterrupt:
            return 0
    raise Failure(f"ComfyUI ended; see the end of {server.base / 'server.log'}")


def assemble_demo() -> None:
    """Write the demo checkpoint and its Smooth-LoRA to where the server looks for models."""
    say("assembling the demo checkpoint")
    _make("assemble", DEMO_MODELS, "the demo checkpoint could not be assembled")


def draw_training_pictures(input_dir: Path) -> None:
    """Draw the folder of pictures and captions that the training example reads into a server's input folder."""
    _make("training_pictures", input_dir, "the training pictures could not be drawn")


def _make(script: str, target: Path, otherwise: str) -> None:
    command = [str(venv_python()), "-m", f"demo.{script}", str(target)]
    done = subprocess.run(command, cwd=PACK, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    log = HOST / f"{script}.log"
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise Failure(f"{otherwise}: {lines[-1] if lines else 'no reason given'}")


def scores_of(prompt: Prompt, outputs: dict[str, Any]) -> list[str]:
    """One line per walk that a Smoothness Score node has scored, saying whether a Smooth-LoRA was in it."""
    lines = []
    for node_id, output in outputs.items():
        for entry in output.get("smooth_istd", []):
            model = "with" if leads_to(prompt, node_id, entry["name"], "SmoothLoRALoader") else "without"
            lines.append(
                f"ISTD {model} the Smooth-LoRA: {entry['istd']:.4f} (cv {entry['cv']:.3f}, {entry['frames']} frames)"
            )
    return lines


def leads_to(prompt: Prompt, node_id: str, name: str, class_type: str) -> bool:
    """True when the wire into input `name` of a node comes, over any nodes, from a node of the class."""
    wires = [prompt[node_id]["inputs"].get(name)]
    seen = set()
    while wires:
        wire = wires.pop()
        if not isinstance(wire, list) or wire[0] in seen:
            continue
        seen.add(wire[0])
        if prompt[wire[0]]["class_type"] == class_type:
            return True
        wires += prompt[wire[0]]["inputs"].values()
    return False


def stored_prompt(name: str) -> Prompt:
    """The prompt that the page queues for an example workflow.

    raises: Failure if it is not kept
    """
    file = PROMPTS / f"{name}.json"
    if not file.is_file():
        raise Failure(f"{file} is missing: restore it from git")
    return json.loads(file.read_text(encoding="utf-8"))


def _render(server: Server, name: str, prompt: Prompt) -> dict[str, Any]:
    say(f"rendering {name}")
    client = server.client
    try:
        outputs = client.wait(client.queue(prompt), LONGEST, _patience())["outputs"]
    except HostError as error:
        raise Failure(f"{name}: {error}") from error
    folder = DEMO_OUT / name
    if folder.exists():
        shutil.rmtree(folder)
    count = _keep(client, outputs, folder)
    say(f"{name}: {count} files in {folder}")
    return outputs


def _patience() -> Callable[[float], None]:
    """Says every 20 seconds that it is still rendering."""
    said = [0.0]

    def waiting(passed: float) -> None:
        if passed - said[0] >= 20:
            said[0] = passed
            say(f"... {passed:.0f} s")

    return waiting


def _keep_frames(server: Server, prompt: Prompt, outputs: dict[str, Any], folder: Path) -> None:
    """Copy what the preview nodes show into a folder for each, named by its title."""
    for node_id, output in outputs.items():
        if prompt[node_id]["class_type"] == "PreviewImage":
            title = re.sub(r"[^\w -]", "", prompt[node_id]["_meta"]["title"])
            (folder / title).mkdir(parents=True)
            for place, file in enumerate(output["images"]):
                (folder / title / f"{place:03}.png").write_bytes(server.client.view(file))


def _keep(client: Client, outputs: dict[str, Any], folder: Path) -> int:
    """Copy what the nodes saved, and speed charts with their scores, into `folder`; how many files."""
    folder.mkdir(parents=True)
    kept = {}
    for node_id, output in outputs.items():
        files = [file for value in output.values() for file in value if isinstance(file, dict) and "filename" in file]
        kept.update(
            {Path(file.get("subfolder", "")) / file["filename"]: file for file in files if file["type"] == "output"}
        )
        if "smooth_istd" in output:
            kept[Path(f"speed_chart_{node_id}.png")] = files[0]
            (folder / f"scores_{node_id}.json").write_text(
                json.dumps(output["smooth_istd"], indent=1), encoding="utf-8"
            )
    for name, file in kept.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(client.view(file))
    return sum(path.is_file() for path in folder.rglob("*"))
