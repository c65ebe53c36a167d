"""Nodes that score the smoothness of finished frames, and of walks that a benchmark renders."""

from __future__ import annotations

from itertools import count

from ...smooth_lora.checks import MAX_SEED
from ...smooth_lora.scores.benchmark_report import (
    benchmark_bars,
    benchmark_headline,
    benchmark_table,
    mean_istd,
    row_data,
    save_benchmark,
)
from ...smooth_lora.scores.chart import bar_chart, speed_chart
from ...smooth_lora.scores.rows import BENCHMARK_ENDINGS, Journal, WalkSetting
from ...smooth_lora.scores.scores_table import scores_table
from ...smooth_lora.scores.smoothness import require_comparable, score
from ...smooth_lora.walks.typed import prompt_lines
from ..host.api import io
from ..host.folders import output_files, output_place
from ..host.node import Node
from ..host.types import CATEGORY, SAMPLERS, SCHEDULERS
from ..page.blocked import blocked
from ..page.page import Page
from ..walks.shown import PLAYED, pictures_shown
from .benchmark import Benchmark
from .ui import scores_data, scores_ui

ROW_EVENT = "smooth_diffusion.row"
DEFAULT_PROMPTS = """a red circle on a blue background
a green square on a white background
a yellow triangle on a purple background"""


class SmoothISTD(Node):
    """Scores the frames of a walk."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SmoothISTD",
            display_name="Smoothness Score (ISTD)",
            category=CATEGORY,
            description="Measures how evenly the frames of a walk change and shows where the picture "
            "jumps. Low cv and low ISTD mean an even walk; read the mean step beside them.",
            search_aliases=["istd", "smoothness", "interpolation standard deviation", "flicker", "jump", "speed chart"],
            is_output_node=True,
            inputs=[
                io.Image.Input(
                    "images",
                    tooltip="The frames of one walk in their order, three or more. "
                    "A stock batch without a walk has no order to score.",
                ),
                io.Image.Input(
                    "compare_with",
                    optional=True,
                    tooltip="The same walk rendered another way, for example without the "
                    "Smooth-LoRA: equal number and size of frames. Its scores join the "
                    "table and the chart.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    "istd",
                    display_name="ISTD",
                    tooltip="Standard deviation of the step lengths of images, pictures on the "
                    "0 to 1 scale. 0 is perfectly even.",
                ),
                io.Image.Output(
                    "chart",
                    display_name="chart",
                    tooltip="Step length over the frames, mean dashed, jumps ringed and named.",
                ),
                io.String.Output(
                    "table",
                    display_name="table",
                    tooltip="All scores as text: ISTD, cv, mean step, path, largest step, jumps.",
                ),
            ],
        )

    @classmethod
    def execute(cls, images, compare_with=None) -> io.NodeOutput:
        scores = {"images": score(images)}
        if compare_with is not None:
            scores["compare_with"] = score(compare_with, "compare_with")
            require_comparable(**scores)
        chart = speed_chart(scores)
        data = [scores_data(name, s) for name, s in scores.items()]
        pictures = {"images": images, "compare_with": compare_with}
        played = [pictures_shown(name, pictures[name], s) for name, s in scores.items()]
        return io.NodeOutput(
            scores["images"].istd,
            chart,
            scores_table(scores),
            ui={**scores_ui(cls, chart, "smooth_istd", data), PLAYED: played},
        )


class SmoothISTDBenchmark(Node):
    """Renders walks of many prompts with one model or two, and scores them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SmoothISTDBenchmark",
            display_name="Smoothness Benchmark (ISTD)",
            category=CATEGORY,
            description="Walks every prompt from one noise to another with one model or two, scores the "
            "walks, and writes a CSV and a JSON file. Every finished walk is kept: stop when "
            "you like, the next run goes on from there.",
            search_aliases=["istd", "smoothness benchmark", "compare models", "compare lora", "evaluate smoothness"],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Model.Input("model", tooltip="The model to score, for example with the Smooth-LoRA."),
                io.Clip.Input("clip", tooltip="Encodes the prompts, the same for both models."),
                io.Vae.Input("vae", tooltip="Decodes the frames, the same for both models."),
                io.String.Input(
                    "prompts",
                    multiline=True,
                    dynamic_prompts=False,
                    default=DEFAULT_PROMPTS,
                    tooltip="One prompt per line; each is walked from one noise to another. "
                    "The paper takes 500, a dozen shows the difference.",
                ),
                io.String.Input(
                    "negative_prompt",
                    multiline=True,
                    dynamic_prompts=False,
                    default="",
                    tooltip="Negative prompt of all walks.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=False,
                    tooltip="The first prompt walks from the noise of this seed to that of seed "
                    "+ 1, the second from seed + 2 to seed + 3, and so on.",
                ),
                io.Int.Input("steps", default=25, min=1, max=10_000, tooltip="Sampling steps. The paper takes 50."),
                io.Float.Input(
                    "cfg",
                    default=7.5,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="Classifier-free guidance scale. The paper takes 7.5.",
                ),
                io.Combo.Input("sampler_name", options=SAMPLERS, default="euler", tooltip="As in KSampler."),
                io.Combo.Input("scheduler", options=SCHEDULERS, default="normal", tooltip="As in KSampler."),
                io.Int.Input(
                    "width",
                    default=512,
                    min=16,
                    max=16_384,
                    step=8,
                    tooltip="Width of the frames in pixels, a multiple of 8.",
                ),
                io.Int.Input(
                    "height",
                    default=512,
                    min=16,
                    max=16_384,
                    step=8,
                    tooltip="Height of the frames in pixels, a multiple of 8.",
                ),
                io.Int.Input(
                    "frames",
                    default=11,
                    min=3,
                    max=10_000,
                    tooltip="Frames of every walk, ends included. The paper takes 11: mixes 0, 0.1 .. 1.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="smooth_istd/benchmark",
                    tooltip="Where in the output folder the files go. Walks that were finished "
                    "under this name with the same settings are not rendered again.",
                ),
                io.Int.Input(
                    "frames_per_batch",
                    default=0,
                    min=0,
                    max=4096,
                    tooltip="Frames that go through the model together; 0 chooses from free memory. Changes no score.",
                ),
                io.Model.Input(
                    "model_2",
                    optional=True,
                    tooltip="A second model for the same walks, for example without the Smooth-LoRA.",
                ),
            ],
            outputs=[
                io.Float.Output("istd", display_name="ISTD", tooltip="Mean ISTD of model over all prompts."),
                io.Float.Output(
                    "istd_2",
                    display_name="ISTD 2",
                    tooltip="Mean ISTD of model_2; without a model_2 it stops whatever is wired to it.",
                ),
                io.Image.Output(
                    "chart", display_name="chart", tooltip="ISTD and cv of every prompt as bars, means dashed."
                ),
                io.String.Output(
                    "table", display_name="table", tooltip="Means, spreads over the prompts and every prompt as text."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model,
        clip,
        vae,
        prompts,
        negative_prompt,
        seed,
        steps,
        cfg,
        sampler_name,
        scheduler,
        width,
        height,
        frames,
        filename_prefix,
        frames_per_batch,
        model_2=None,
    ) -> io.NodeOutput:
        models = {"model": model} if model_2 is None else {"model": model, "model_2": model_2}
        journal, csv_file, json_file = output_files(filename_prefix, BENCHMARK_ENDINGS)
        setting = WalkSetting(negative_prompt, steps, cfg, sampler_name, scheduler, width, height, frames)
        plan = Benchmark(models, clip, vae, prompt_lines(prompts), seed, setting, frames_per_batch)
        page, walks, numbers = Page(cls), len(models) * len(plan.prompts), count(1)

        def tell(name, index, _, row):
            page.tell(ROW_EVENT, {"walks": walks, "number": next(numbers), "row": row_data(name, index + 1, row)})

        results = plan.run(Journal(journal), tell)
        save_benchmark(results, csv_file, json_file)
        chart = bar_chart(*benchmark_bars(results))
        istd_2 = (
            mean_istd(results["model_2"])
            if model_2 is not None
            else blocked("Smoothness Benchmark: the ISTD 2 output needs a second model; wire one to model_2.")
        )
        data = [benchmark_headline(results)]
        files = {"csv": output_place(csv_file), "json": output_place(json_file)}
        shown = {**scores_ui(cls, chart, "smooth_istd_benchmark", data), "smooth_istd_files": [files]}
        return io.NodeOutput(mean_istd(results["model"]), istd_2, chart, benchmark_table(results), ui=shown)


NODES = [SmoothISTD, SmoothISTDBenchmark]
