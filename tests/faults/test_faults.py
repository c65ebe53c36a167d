"""What goes wrong while a real server works: each fault is followed by an ordinary run in the same process that gives
the very frames it gave before."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from small_prompts import benchmark_prompt, inversion_prompt, pictures, training_prompt, video_prompt, walk_prompt

from devtools.client import Client, HostError
from devtools.demo import draw_training_pictures
from devtools.layout import DEMO_MODELS, PACK
from devtools.server import Server

TRIES = (10, pytest.param(100, marks=pytest.mark.full))
ROUNDED = 2  # of 255
NEVER_WRITABLE = Path("/sys")  # on Linux, not even for root
pytestmark = pytest.mark.usefixtures("demo_models")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory) -> Iterator[Server]:
    """A server that breaks on order; see tests/faults/pack."""
    base = tmp_path_factory.mktemp("faulty")
    packs = base / "packs"
    packs.mkdir()
    for name, folder in (("smooth-diffusion", PACK), ("smooth-faults", Path(__file__).parent / "pack")):
        (packs / name).symlink_to(folder)
    with Server(packs=[packs / "smooth-diffusion", packs / "smooth-faults"]) as server:
        draw_training_pictures(server.input)
        yield server


@pytest.fixture(scope="module")
def expected(faulty) -> list[bytes]:
    return pictures(faulty.client, walk_prompt())


@pytest.fixture
def broken(faulty, expected):
    """broken(fault): the server's client, broken that way until the test ends; then it must work as before."""

    def order(**fault) -> Client:
        faulty.client.post("/smooth_faults", fault)
        return faulty.client

    yield order
    order()
    forget(faulty.client)
    assert pictures(faulty.client, walk_prompt()) == expected


def forget(client: Client) -> None:
    """Empty the host's caches; it does so between two prompts, once it has noticed."""
    client.free()
    time.sleep(1.0)


@pytest.mark.parametrize("tries", TRIES)
def test_interrupts_at_random_moments(faulty, broken, expected, tries):
    """Seeded tries, each with another walk, so that nothing comes from a cache."""
    client, stopped, whole = broken(), 0, 0
    for seed in range(tries):
        wait = random.Random(seed).uniform(0.0, 2.0)
        prompt_id = client.queue(walk_prompt(seeds=f"{seed}, {5000 + tries}", frames=24))
        time.sleep(wait)
        client.interrupt(prompt_id)
        try:
            client.wait(prompt_id)
            whole += 1
        except HostError as error:
            assert error.interrupted, error
            stopped += 1
        if seed % 10 == 9:
            assert pictures(client, walk_prompt()) == expected
    assert stopped + whole == tries and stopped > tries / 2


@pytest.mark.parametrize("seed", range(5))
def test_memory_that_runs_out_at_random_costs_no_frame(broken, expected, seed):
    client = broken(kind="memory", seed=seed, share=0.5)
    forget(client)
    for found, whole in zip(pictures(client, walk_prompt()), expected, strict=True):
        away = np.abs(np.frombuffer(found, np.uint8).astype(int) - np.frombuffer(whole, np.uint8))
        assert away.max() <= ROUNDED  # another batch size rounds otherwise


NO_MEMORY, NAN = {"kind": "memory_always"}, {"kind": "nan", "call": 1}


@pytest.mark.parametrize(
    ("fault", "prompt", "sentence"),
    [
        (
            NO_MEMORY,
            walk_prompt(seeds="1, 2"),
            "Walk Sampler: memory ran out in a single frame; make the frames smaller",
        ),
        (NO_MEMORY, inversion_prompt(4, 0.0), "Invert Picture: memory ran out; invert fewer or smaller pictures"),
        (
            NO_MEMORY,
            training_prompt(2, "out_of_memory"),
            "Train Smooth-LoRA: memory ran out, and what was trained so far is kept",
        ),
        (NO_MEMORY, benchmark_prompt(1, "bench/oom"), "Walk Sampler: memory ran out in a single frame"),
        (
            NAN,
            walk_prompt(seeds="3, 4"),
            "frame 0 holds NaN or infinite values, which come from the model: use another weight",
        ),
        (NAN, inversion_prompt(4, 0.0), "Invert Picture: the model answered NaN or infinite values; use another"),
        (NAN, training_prompt(2, "not_a_number"), "which is not finite; lower the learning rate"),
        (NAN, benchmark_prompt(1, "bench/nan"), "holds NaN or infinite values"),
    ],
)
def test_a_model_that_has_no_memory_or_answers_nan_says_what_to_do(broken, fault, prompt, sentence):
    with pytest.raises(HostError, match=sentence):
        broken(**fault).run(prompt)


@pytest.mark.parametrize(
    ("folder", "prompt", "sentence"),
    [
        ("output", benchmark_prompt(2, "full/bench"), "No space left|cannot be written"),
        ("output", inversion_prompt(4, cache_gb=0.0), "No space left|could not be written|cannot be written"),
        ("user", training_prompt(2, "disk_full"), "could not be written|cannot be written|No space left"),
    ],
)
def test_a_full_disk_is_named_and_leaves_no_half_file(faulty, broken, folder, prompt, sentence):
    before = files_of(faulty.base / folder)
    with pytest.raises(HostError, match=sentence):
        broken(kind="disk_full", under=str(faulty.base / folder)).run(prompt)
    left = files_of(faulty.base / folder) - before
    assert all(size == 0 or "_rows.jsonl" in name for name, size in left), left


@pytest.mark.skipif(not NEVER_WRITABLE.is_dir(), reason="no folder is read-only for everybody here")
def test_an_output_folder_that_cannot_be_written_is_named(expected):
    with Server(["--output-directory", str(NEVER_WRITABLE)]) as server:
        draw_training_pictures(server.input)
        sentence = (
            r"filename_prefix '.*' leads to a folder in which nothing can be written \(.*: /sys.*\); make it "
            "writable, or start ComfyUI with another --output-directory"
        )
        for prompt in (
            benchmark_prompt(1, "bench"),
            benchmark_prompt(1, "new/bench"),
            video_prompt(),
            inversion_prompt(4, cache_gb=0.0),
            training_prompt(1, "read_only"),
        ):
            with pytest.raises(HostError, match=sentence):
                server.client.run(prompt)
        assert pictures(server.client, walk_prompt()) == expected


def files_of(folder: Path) -> set[tuple[str, int]]:
    return {
        (path.name, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file() and "smooth" in str(path) + "smooth" and ".log" not in path.name and ".db" not in path.name
    }


def test_the_page_s_pictures_do_not_stop_a_walk_when_the_disk_is_full(faulty, broken, expected):
    client = broken(kind="disk_full", under=str(faulty.base / "temp" / "smooth_diffusion"))
    forget(client)
    assert pictures(client, walk_prompt()) == expected
    assert "the page cannot show" in faulty.log()


def test_two_pages_queue_at_once(faulty, broken):
    """Each gets its own frames, the same as alone."""
    broken()
    seeds = [f"{number}, {number + 1}" for number in range(40, 46)]
    alone = [pictures(faulty.client, walk_prompt(seeds=pair)) for pair in seeds]
    forget(faulty.client)
    found: dict[str, list[bytes]] = {}

    def page(mine: list[str]) -> None:
        client = Client(faulty.address)
        for pair in mine:
            found[pair] = pictures(client, walk_prompt(seeds=pair))

    pages = [threading.Thread(target=page, args=(seeds[start::2],)) for start in (0, 1)]
    for thread in pages:
        thread.start()
    for thread in pages:
        thread.join()
    assert [found[pair] for pair in seeds] == alone


def test_a_model_that_is_unloaded_while_a_walk_waits(faulty, broken, expected):
    client = broken()
    for _ in range(3):
        prompt_id = client.queue(walk_prompt(seeds="77, 78", frames=12))
        client.free()  # between this prompt and the next
        client.wait(prompt_id)
        assert pictures(client, walk_prompt()) == expected


def test_a_lora_that_is_replaced_on_disk_is_read_again(faulty, broken):
    client = broken()
    folder = faulty.base / "models" / "loras"
    original = next((DEMO_MODELS / "loras").glob("smooth_demo_lora.safetensors"))
    shutil.copyfile(original, folder / "changing.safetensors")
    prompt = walk_prompt(lora="changing.safetensors")
    first = pictures(client, prompt)
    weaker = {key: value * 0.3 if value.ndim > 1 else value for key, value in load_file(original).items()}
    save_file(weaker, folder / "changing.safetensors")
    assert pictures(client, prompt) != first
    shutil.copyfile(original, folder / "changing.safetensors")
    assert pictures(client, prompt) == first
