"""How smooth a walk is: scores of finished frames, and the benchmark that renders its own."""

from ..smooth_lora.chart import speed_chart
from ..smooth_lora.smoothness import require_comparable, score, table
from ._api import io
from .adapters.results import scores_data, scores_ui

CATEGORY = "Smooth Diffusion"


class SmoothISTD(io.ComfyNode):
    """Scores the frames of a walk."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SmoothISTD",
            display_name="Smoothness Score (ISTD)",
            category=CATEGORY,
            description="Measures how evenly the frames of a walk change and shows where the picture jumps. Low cv and "
                        "low ISTD mean an even walk; read the mean step beside them.",
            search_aliases=["istd", "smoothness", "interpolation standard deviation", "flicker", "jump", "speed chart"],
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="The frames of one walk in their order, three or more. "
                                                 "A stock batch without a walk has no order to score."),
                io.Image.Input("compare_with", optional=True,
                               tooltip="The same walk rendered another way, for example without the Smooth-LoRA: equal "
                                       "number and size of frames. Its scores join the table and the chart."),
            ],
            outputs=[
                io.Float.Output("istd", display_name="ISTD",
                                tooltip="Standard deviation of the step lengths of images, pictures on the 0 to 1 scale. "
                                        "0 is perfectly even."),
                io.Image.Output("chart", display_name="chart",
                                tooltip="Step length over the frames, mean dashed, jumps ringed and named."),
                io.String.Output("table", display_name="table",
                                 tooltip="All scores as text: ISTD, cv, mean step, path, largest step, jumps."),
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
        return io.NodeOutput(scores["images"].istd, chart, table(scores),
                             ui=scores_ui(cls, chart, "smooth_istd", data))
