"""Scores walks of many prompts, without a page and on many devices if torchrun starts it. tools/README.md says how.

    python -m tools.benchmark                                            the demo checkpoint, three prompts
    torchrun --nproc_per_node 4 -m tools.benchmark --config bench.json

It makes what the Smoothness Benchmark node makes, row by row the same however many processes there are: the walk of a
prompt depends on its place in the list alone. Walks that are finished are kept and not rendered again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from devtools.in_process import HostPack
from devtools.layout import PACK
from tools._config import PLACE, Config, Field, part, walk_fields
from tools._host import RANK, model_name, open_host, processes, require_in_bounds, run_command, tell, until_stopped

DEMO = PACK / "tools" / "configs" / "demo_benchmark.json"
MODELS = {"checkpoint": Field("str"), "lora": Field("str | None", None), "lora_strength": Field("float", 1.0)}
RUN = {"filename_prefix": Field("str", "smooth_istd/benchmark"), "frames_per_batch": Field("int", 0)}
OF_RANK = ".rank"  # in the name of a journal
SIDE = 512  # of a frame, if the config does not say


class BenchmarkConfig:
    """Everything that a config file says of a benchmark.

    raises: Failure for what can be seen to be wrong without the host
    """

    def __init__(self, path: Path):
        self.config = config = Config(path)
        groups = (PLACE, MODELS, walk_fields(SIDE), RUN)
        values = config.checked({name: field for group in groups for name, field in group.items()})
        place, self.models, self.walks, self.run = (part(values, group) for group in groups)
        self.place = config.place(place)
        self.walks["prompts"] = config.texts(self.walks["prompts"], "prompts")

    def require_in_bounds(self, pack: HostPack) -> None:
        """raises: Failure for a number or a choice that the nodes would not take"""
        require_in_bounds(self.config, pack.node("SmoothISTDBenchmark"), {**self.walks, **self.run, "prompts": None})
        require_in_bounds(
            self.config, pack.node("SmoothLoRALoader"), {"strength": self.models["lora_strength"]}, inside="lora_"
        )


def benchmark(wanted: BenchmarkConfig) -> None:
    """Render and score the walks as it is wanted, and write the files.

    raises: what the nodes raise; Stopped after Ctrl-C
    """
    import torch

    pack = open_host(wanted.place)
    wanted.require_in_bounds(pack)
    checkpoint = model_name(wanted.config, "checkpoints", wanted.models["checkpoint"], "checkpoint")
    lora = wanted.models["lora"] and model_name(wanted.config, "loras", wanted.models["lora"], "lora")
    on = "stopped; the same command goes on with the walks that are left"
    with until_stopped(on), torch.inference_mode(), processes(pack) as group:
        _benchmark(wanted, pack, group, checkpoint, lora)


def _benchmark(wanted: BenchmarkConfig, pack: HostPack, group, checkpoint: str, lora: str | None) -> None:
    rows, adapter = pack.module("smooth_lora.scores.rows"), pack.module("nodes.scores.benchmark")
    model, clip, vae = pack.node("CheckpointLoaderSimple")().load_checkpoint(checkpoint)
    models = {"model": model}
    if lora:
        smooth, _ = pack.run("SmoothLoRALoader", model=model, lora_name=lora, strength=wanted.models["lora_strength"])
        models = {"model": smooth, "model_2": model}
    setting = rows.WalkSetting(**part(wanted.walks, rows.WalkSetting.__dataclass_fields__))
    prompts = wanted.walks["prompts"]
    plan = adapter.Benchmark(models, clip, vae, prompts, wanted.walks["seed"], setting, wanted.run["frames_per_batch"])
    output_files = pack.module("nodes.host.folders").output_files
    kept, csv_file, json_file = output_files(wanted.run["filename_prefix"], rows.BENCHMARK_ENDINGS)
    journal = rows.Journal(kept.with_name(f"{kept.stem}{OF_RANK}{RANK}{kept.suffix}") if RANK else kept)
    _share(rows, group, journal, [kept, *_of_others(kept)])
    own = range(group.rank, len(prompts), group.size)
    tell(
        f"{checkpoint}: {len(prompts)} prompts, {len(models)} model{'s' * (len(models) - 1)}, {group.size} "
        f"process{'es' if group.size > 1 else ''} on {model.load_device.type}"
    )
    plan.run(journal, lambda name, place, *_: tell(f"prompt {place + 1} of {len(prompts)}, {name}"), own)
    _share(rows, group, journal, [journal.path])
    if group.rank == 0:
        results = plan.run(journal)
        report = pack.module("smooth_lora.scores.benchmark_report")
        report.save_benchmark(results, csv_file, json_file)
        tell(f"the scores\n{report.benchmark_table(results)}\n")
        tell(f"{csv_file} and {json_file.name}")
    group.gathered("")  # until the first process has written
    for leftover in _of_others(kept):
        leftover.unlink(missing_ok=True)


def _of_others(kept: Path) -> list[Path]:
    """The journals of processes other than the first, those of a run with more of them included."""
    return sorted(
        file
        for file in kept.parent.iterdir()
        if file.name.startswith(kept.stem + OF_RANK) and file.suffix == kept.suffix
    )


def _share(rows, group, journal, files: Iterable[Path]) -> None:
    """Write into every process's journal what any of them finds in its files."""
    found = {key: row for file in files for key, row in rows.Journal(file).read().items()}
    everyone = group.gathered("\n".join(row.to_json() for row in found.values()))
    known = journal.read()
    for line in (line for said in everyone for line in said.splitlines()):
        row = rows.Row.from_json(line)
        if row.conditions.key not in known:
            known[row.conditions.key] = row
            journal.append(row)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.benchmark", description=__doc__.split(",")[0])
    parser.add_argument(
        "--config",
        type=Path,
        default=DEMO,
        metavar="FILE",
        help="JSON; without it three prompts on the demo checkpoint, with and without its Smooth-LoRA",
    )
    chosen = parser.parse_args(arguments)
    return run_command(lambda: benchmark(BenchmarkConfig(chosen.config)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
