"""Trains a Smooth-LoRA without a page, on one device or, started by torchrun, on many. tools/README.md says how.

    python -m tools.train                                            50 steps on the demo checkpoint
    torchrun --nproc_per_node 4 -m tools.train --config run.json

Run it from the pack's folder with the Python of the ComfyUI that it is to use, .host/venv/bin/python for the demo. A
run that was stopped or killed goes on where it was when it is started again.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from devtools.in_process import HostPack
from devtools.layout import PACK
from tools._config import PLACE, Config, Field, fields_of, part, walk_fields
from tools._host import (
    Stop,
    Stopped,
    model_name,
    open_host,
    processes,
    require_in_bounds,
    run_command,
    tell,
    until_stopped,
)

DEMO = PACK / "tools" / "configs" / "demo.json"
DRAWN = "demo"  # in place of a folder of pictures
OWN = {**PLACE, "checkpoint": Field("str"), "pictures": Field("str"), "demo_pictures": Field("int", 24)}
DATA = {
    "resolution": Field("int", 512),
    "held_out": Field("int", 0),
    "missing_captions": Field("str", "refuse"),
    "cache_gb": Field("float", 10.0),
}
FILE = {
    "filename_prefix": Field("str", "loras/my_smooth_lora"),
    "key_style": Field("str", "kohya"),
    "precision": Field("str", "float16"),
}
TABLES = {"file": Field("table", {}), "check": Field("table | None", None)}
PAUSE = 2.0  # seconds between two lines of progress


class TrainConfig:
    """Everything that a config file says of a training.

    raises: Failure for what can be seen to be wrong without the host
    """

    def __init__(self, path: Path):
        self.config = config = Config(path)
        from smooth_lora.training.settings import TrainingRun, TrainingSettings  # and torch, see _host.run_command

        settings, run = fields_of(TrainingSettings), fields_of(TrainingRun)
        del run["check_every"]  # check.every
        groups = (OWN, DATA, settings, run, TABLES)
        values = config.checked({name: field for group in groups for name, field in group.items()})
        self.own, self.data, self.settings, self.run = (part(values, group) for group in groups[:-1])
        self.file, self.check = config.checked(FILE, values["file"], "file"), None
        self.place = config.place(self.own)
        if values["check"] is not None:
            fields = {**walk_fields(self.data["resolution"]), "every": Field("int", 0)}
            self.check = config.checked(fields, values["check"], "check")
            self.check["prompts"] = config.texts(self.check["prompts"], "check.prompts")
            if self.check["every"] < 0:
                raise config.failure(f"check.every must be 0 or more, got {self.check['every']}")
        self.folder = None if self.own["pictures"] == DRAWN else config.file(self.own["pictures"])
        if self.folder is not None and not self.folder.is_dir():
            raise config.failure(
                f"pictures names {self.folder}, which is no folder; give a folder of pictures with a "
                f"text file beside each, or {DRAWN}"
            )

    def require_in_bounds(self, pack: HostPack) -> None:
        """raises: Failure for a number or a choice that the nodes would not take"""
        require_in_bounds(self.config, pack.node("SmoothLoRATrainer"), {**self.settings, **self.run})
        require_in_bounds(self.config, pack.node("SmoothLoRATrainData"), self.data)
        require_in_bounds(self.config, pack.node("SmoothSaveLoRA"), self.file, inside="file.")
        if self.check is not None:
            require_in_bounds(
                self.config, pack.node("SmoothTrainingCheck"), {**self.check, "prompts": None}, inside="check."
            )


def train(wanted: TrainConfig) -> None:
    """Train as it is wanted, and write the file.

    raises: what the nodes raise; Stopped after Ctrl-C
    """
    import torch

    pack = open_host(wanted.place)
    wanted.require_in_bounds(pack)
    checkpoint = model_name(wanted.config, "checkpoints", wanted.own["checkpoint"], "checkpoint")
    on = "stopped; the same command goes on from the last whole step"
    with until_stopped(on) as stop, torch.inference_mode(), processes(pack) as group:
        _train(wanted, pack, group, checkpoint, stop)


def _train(wanted: TrainConfig, pack: HostPack, group, checkpoint: str, stop: Stop) -> None:
    module = pack.module
    model, clip, vae = pack.node("CheckpointLoaderSimple")().load_checkpoint(checkpoint)
    tell(f"{checkpoint}, {group.size} process{'es' if group.size > 1 else ''} on {model.load_device.type}")
    encoded = _encoded(wanted, pack, group, clip, vae)
    (latents, texts), held_out = encoded.split(wanted.data["held_out"])
    pictures = module("nodes.training.images").training_set(model, latents, texts, [encoded.empty])
    records = module("smooth_lora.training.settings")
    settings = records.TrainingSettings.of(wanted.settings)
    check, every = None, 0
    if wanted.check is not None:
        every = wanted.check["every"]
        check = _check(wanted.check, module, clip, vae, model, held_out)
    run = records.TrainingRun(**wanted.run, check_every=every)
    stop.at_once = False
    trained = module("nodes.training.run").train_lora(
        model, pictures, settings, run, check=check, watch=Watch(group, stop)
    )
    if group.rank == 0:
        file = wanted.file
        name, written = module("nodes.lora.write").save_lora(
            model,
            trained.lora,
            file["filename_prefix"],
            style=file["key_style"],
            precision=file["precision"],
            record=trained.record(),
        )
        tell(f"the training\n{trained.report()}\n")
        tell(f"the file {_output(name)}\n{written}")


def _encoded(wanted: TrainConfig, pack: HostPack, group, clip, vae):
    """The EncodedSet. The first process encodes, the others find in its cache what is the same for all."""
    data = wanted.data
    if group.rank:
        group.gathered("")
    try:
        images, captions = _drawn(wanted.own["demo_pictures"]) if wanted.folder is None else _loaded(wanted.folder)
        encoded = pack.module("nodes.training.encode").encode_set(
            images,
            captions,
            vae,
            clip,
            side=data["resolution"],
            missing=data["missing_captions"],
            cache_gb=data["cache_gb"],
        )
    finally:  # what is wrong with the pictures the others may see for themselves
        if not group.rank:
            group.gathered("")
    tell(encoded.report)
    return encoded


def _loaded(folder: Path) -> tuple[list, list[str]]:
    """Pictures and captions as the host's own node loads them.

    raises: ValueError if there are none
    """
    from comfy_extras.nodes_dataset import LoadImageTextDataSetFromFolderNode

    try:
        return LoadImageTextDataSetFromFolderNode.execute(str(folder)).result
    except ValueError as error:
        raise ValueError(
            f"{folder} cannot be trained on ({error}); put PNG, JPG or WEBP pictures into it, and a text "
            "file of the same name with its caption beside each"
        ) from error


def _drawn(count: int) -> tuple[list, list[str]]:
    """Pictures of the demo's kind, as many as wanted, spread over all that it knows."""
    import torch

    from demo.pictures import PROMPTS, random_pictures

    generator = torch.Generator().manual_seed(0)
    prompts = [PROMPTS[place * 7 % len(PROMPTS)] for place in range(count)]  # 7 shares no factor with their number
    return [random_pictures(prompt, 1, generator) for prompt in prompts], [prompt.text for prompt in prompts]


def _check(wanted: dict, module, clip, vae, model, held_out: tuple[list, list]):
    """The TrainingCheck."""
    checks, setting = module("nodes.training.check"), module("smooth_lora.scores.rows").WalkSetting
    walk = setting(**part(wanted, setting.__dataclass_fields__))
    return checks.TrainingCheck(
        clip, vae, wanted["prompts"], wanted["seed"], walk, checks.held_out_set(*held_out, model)
    )


def _output(name: str) -> Path:
    import folder_paths

    return Path(folder_paths.get_output_directory()) / name


class Watch:
    """Says how a training goes, and stops all its processes after one step."""

    def __init__(self, group, stop: Stop):
        self._group, self._stop = group, stop
        self._checks, self._said, self._before = 0, -PAUSE, None

    def __call__(self, trainer) -> None:
        """raises: Stopped, in every process, when one of them was asked to stop"""
        now = time.monotonic()
        if len(trainer.checks) > self._checks:
            self._say_checks(trainer.checks[self._checks :])
            self._checks = len(trainer.checks)
        elif now - self._said >= PAUSE or trainer.step == trainer.settings.steps:
            self._say_step(trainer, now)
            self._said = now
        self._before = now
        if any(self._group.gathered("stop" if self._stop.asked else "")) and trainer.step < trainer.settings.steps:
            raise Stopped(
                f"stopped after step {trainer.step} of {trainer.settings.steps}; the same command goes on from there"
            )

    def _say_checks(self, rows) -> None:
        for step, istd, cv, length, base in rows:
            tell(
                f"check at step {step:.0f}: ISTD {istd:.4g}, cv {cv:.3g}, mean step {length:.4g}, base loss {base:.4g}"
            )

    def _say_step(self, trainer, now: float) -> None:
        base, penalty, r = trainer.log[-1][:3]
        pace = "" if self._before is None else f", {now - self._before:.2g} s"
        tell(
            f"step {trainer.step}/{trainer.settings.steps}: base loss {base:.4g}, penalty {penalty:.4g}, r {r:.4g}"
            f"{pace}"
        )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.train", description=__doc__.split(",")[0])
    parser.add_argument(
        "--config", type=Path, default=DEMO, metavar="FILE", help="JSON; without it 50 steps on the demo checkpoint"
    )
    chosen = parser.parse_args(arguments)
    return run_command(lambda: train(TrainConfig(chosen.config)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
