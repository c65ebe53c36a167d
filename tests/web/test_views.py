"""What the benchmark, the inversion and the trainer show on their nodes, in both renderers."""

from __future__ import annotations

import csv
import io
import itertools
import json

import pytest
from comfy_page import load_workflow, made_small, ours, run_graph, serialized, template
from PIL import Image
from playwright.sync_api import Page, expect

PROMPTS = "a red circle on a blue background\na green square on a white background\na blue ring on a red background"
NUMBERS = itertools.count(7000)
BENCHMARK, RECEIPT, TRAINING = (f".smooth-diffusion-{name}" for name in ("benchmark", "receipt", "training"))


def benchmark(prefix: str) -> dict:
    return made_small(
        template("istd_benchmark"),
        {"SmoothISTDBenchmark": {0: PROMPTS, 2: next(NUMBERS) * 100, 3: 2, 9: 3, 10: prefix}},
    )


def column(page: Page, name: str) -> list[str]:
    return page.locator(BENCHMARK).locator(f"td.{name}").all_inner_texts()


class TestBenchmark:
    @pytest.fixture
    def ran(self, page: Page, renderer: str) -> dict:
        load_workflow(page, benchmark(f"page_{renderer}/{next(NUMBERS)}"))
        expect(page.locator(BENCHMARK).locator(".said")).to_have_text(
            "Run the benchmark: every finished walk comes here."
        )
        (files,) = run_graph(page)["4"]["smooth_istd_files"]
        expect(page.locator(BENCHMARK).locator(".said")).to_have_text("3 prompts.")
        return files

    def test_every_walk_arrives_while_others_are_rendered(self, page, complaints, renderer):
        load_workflow(page, benchmark(f"live_{renderer}/{next(NUMBERS)}"))
        seen = page.evaluate_handle("""async () => {
            const { api } = await import("/scripts/api.js")
            const seen = []
            const root = document.querySelector(".smooth-diffusion-benchmark").shadowRoot
            api.addEventListener("smooth_diffusion.row", () => seen.push(
                [root.querySelectorAll("tbody tr").length, root.querySelector(".said").textContent]))
            return seen }""")
        run_graph(page)
        assert seen.json_value() == [[count, f"{count} of 6 walks rendered"] for count in range(1, 7)]
        assert ours(complaints) == []

    def test_the_table_is_what_was_written_and_is_sorted_by_any_column(self, page, client, complaints, ran, shot):
        rows = json.loads(client.view(ran["json"]))["rows"]
        in_order = sorted(rows, key=lambda row: row["prompt_number"])
        found = [float(cell) for cell in column(page, "istd")]
        assert found == pytest.approx([row["istd"] for row in in_order], rel=1e-3)
        assert column(page, "prompt") == [row["prompt"] for row in in_order]
        view = page.locator(BENCHMARK)
        for measure in ("istd", "cv", "mean_distance"):
            view.locator(f"th[data-column={measure}] button").click()
            found = [float(cell) for cell in column(page, measure)]
            assert found == sorted(found, reverse=True)
            assert found == pytest.approx(sorted((row[measure] for row in rows), reverse=True), rel=1e-3)
            assert view.locator(f"th[data-column={measure}]").get_attribute("aria-sort") == "descending"
        view.locator("th[data-column=istd] button").click()
        view.locator("th[data-column=istd] button").click()
        found = [float(cell) for cell in column(page, "istd")]
        assert found == sorted(found)
        view.locator("th[data-column=prompt] button").click()
        assert column(page, "prompt") == sorted(column(page, "prompt"))
        view.locator("tbody tr").nth(4).click()
        expect(view.locator("tbody tr[aria-selected=true]")).to_have_count(2)  # both models of that prompt
        view.locator("tbody tr").nth(4).press("ArrowUp")
        expect(view.locator("tbody tr").nth(3)).to_be_focused()
        assert view.locator(".u-over").count() == 2  # bars and steps are drawn
        shot("benchmark")
        assert ours(complaints) == []

    def test_its_files_are_the_node_s_csv_and_the_chart_as_a_picture(self, page, client, ran):
        view = page.locator(BENCHMARK)
        with page.expect_download() as download:
            view.get_by_text("CSV", exact=True).click()
        rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
        assert len(rows) == 6 and download.value.path().read_bytes() == client.view(ran["csv"])
        with page.expect_download() as download:
            view.get_by_text("PNG", exact=True).click()
        assert download.value.suggested_filename == "benchmark.png"
        picture = Image.open(download.value.path())
        assert picture.format == "PNG" and picture.width >= 200 and picture.height >= 110
        assert len(picture.convert("RGB").getcolors(2**24)) > 3  # the background, text and two colours of bars

    def test_a_saved_graph_finds_its_table_again_and_says_when_the_file_is_gone(self, page, ran):
        saved = serialized(page)
        (node,) = (node for node in saved["nodes"] if node["type"] == "SmoothISTDBenchmark")
        assert len(json.dumps(node["properties"]["smooth_diffusion.benchmark"])) < 400  # a place, no rows
        load_workflow(page, saved)
        expect(page.locator(BENCHMARK).locator("tbody tr")).to_have_count(6)
        expect(page.locator(BENCHMARK).locator(".said")).to_have_text("3 prompts.")
        node["properties"]["smooth_diffusion.benchmark"]["json"]["filename"] = "none.json"
        load_workflow(page, saved)
        expect(page.locator(BENCHMARK).locator(".said")).to_have_text(
            "none.json is gone from ComfyUI's output folder; run the benchmark again."
        )


class TestReceipt:
    def test_the_badge_says_what_the_receipt_says(self, page, complaints, shot):
        small = {"SmoothInvert": {2: 6}, "EmptyImage": {3: next(NUMBERS)}}
        load_workflow(page, made_small(template("invert_and_reconstruct"), small))
        outputs = run_graph(page)
        receipts = [outputs[str(node)]["smooth_receipt"][0] for node in (10, 13, 16)]
        for place, receipt in enumerate(receipts):
            badge = page.locator(RECEIPT).nth(place)
            expect(badge.locator(".head")).to_have_text(f"{receipt['method']}, {receipt['steps']} steps, cfg 1")
            (picture,) = receipt["pictures"]
            found, ceiling = picture["against_input"], picture["ceiling"]
            expect(badge.locator(".picture")).to_contain_text(
                f"PSNR {found['psnr']:.2f} dB of the {ceiling['psnr']:.2f} dB that the VAE allows"
            )
            lost = ceiling["psnr"] - found["psnr"]
            grade = "good" if lost <= 0.5 else "fair" if lost <= 3 else "poor"
            assert badge.locator(".picture").get_attribute("data-grade") == grade
        assert page.locator(RECEIPT).nth(2).locator(".picture").get_attribute("data-grade") == "good"  # exact
        saved = serialized(page)
        load_workflow(page, saved)
        exact = page.locator(RECEIPT).nth(2).locator(".head")
        expect(exact).to_have_text(f"exact, {receipts[2]['steps']} steps, cfg 1")
        shot("receipts")
        assert ours(complaints) == []


class TestTraining:
    def test_losses_and_checks_arrive_while_it_trains(self, page, complaints, renderer, shot):
        small = {
            "SmoothLoRATrainer": {0: f"page_{renderer}_{next(NUMBERS)}", 4: 6, 5: 2, 20: 3},
            "SmoothTrainingCheck": {3: 2, 9: 3},
        }
        load_workflow(page, made_small(template("train_a_smooth_lora"), small))
        expect(page.locator(TRAINING).locator(".said")).to_have_text(
            "Run the workflow: losses, variation and checks come here while it trains."
        )
        seen = page.evaluate_handle("""async () => {
            const { api } = await import("/scripts/api.js")
            const seen = []
            const root = document.querySelector(".smooth-diffusion-training").shadowRoot
            api.addEventListener("smooth_diffusion.training", ({ detail }) => seen.push(
                [detail.step, detail.checks.length, root.querySelector(".said").textContent,
                 root.querySelectorAll(".strips li").length]))
            return seen }""")
        outputs = run_graph(page)
        found = seen.json_value()
        assert len(found) >= 3 and [item[2] for item in found] == [
            f"{small['SmoothLoRATrainer'][0]}: step {item[0]} of 6" for item in found
        ]
        assert [item[3] for item in found] == [item[1] for item in found]
        view = page.locator(TRAINING)
        (data,) = outputs["7"]["smooth_training"]
        assert view.locator("figure:not([hidden])").count() == 4
        base = [row[data["columns"].index("base")] for row in data["rows"]]
        assert f"base loss {base[-1]:.4g}"[:14] in view.locator("figcaption").first.inner_text()
        expect(view.locator(".strips img")).to_have_count(3)
        page.wait_for_function("""() => [...document.querySelector(".smooth-diffusion-training").shadowRoot
            .querySelectorAll(".strips img")].every(img => img.complete && img.naturalWidth === 3 * 64)""")
        shot("training")
        load_workflow(page, serialized(page))
        expect(view.locator(".said")).to_have_text(f"{small['SmoothLoRATrainer'][0]}: step 6 of 6")
        expect(view.locator(".strips img")).to_have_count(3)
        assert ours(complaints) == []
