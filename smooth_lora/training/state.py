"""A training on disk, with all that the next step needs: a run that was killed ends as an unbroken one does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from ..files.tensor_file import Advice, TensorFile, read_tensor_file
from ..files.whole import write_tensors
from .loop import Trainer

STATE_FORMAT = "Smooth Diffusion training 1"
WEIGHT, AVERAGED, OPTIMIZER, LOG, CHECKS, MEAN_R = "weight.", "averaged.", "optimizer.", "log", "checks", "mean_r"
# A resumed run may take more steps, which changes nothing of those taken (unless the schedule ends with them).
MAY_DIFFER = "steps"
STATE_ADVICE = Advice.only("delete it, or choose another name, to start anew")


def save_state(trainer: Trainer, path: Path, facts: Mapping[str, str]) -> None:
    """Writes a training after its last complete step.

    facts:  must be the same to continue it, such as hashes of the model and of the data
    raises: OSError if it cannot be written, then the file is as it was
    """
    tensors = {f"{WEIGHT}{name}": weight for name, weight in trainer.weights.items()}
    tensors |= {f"{AVERAGED}{name}": weight for name, weight in trainer.averaged.items()}
    tensors[LOG] = torch.tensor(trainer.log, dtype=torch.float64)
    tensors[CHECKS] = torch.tensor(trainer.checks, dtype=torch.float64)
    if trainer.mean_r is not None:
        tensors[MEAN_R] = trainer.mean_r.double()
    tensors |= {
        f"{OPTIMIZER}{name}.{key}": value
        for name, weight in trainer.weights.items()
        for key, value in trainer.optimizer.state.get(weight, {}).items()
    }
    metadata = {
        "format": STATE_FORMAT,
        "step": str(trainer.step),
        "settings": json.dumps(asdict(trainer.settings)),
        "facts": json.dumps(dict(facts)),
        "checks_of": trainer.checks_of,
    }
    write_tensors(
        {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()},
        path,
        metadata,
    )


def restore_state(trainer: Trainer, path: Path, facts: Mapping[str, str]) -> None:
    """Sets a trainer to the state of a saved training.

    raises: ValueError if the file is damaged, of another kind, or of a training with other settings or facts, naming
            the first difference
    """
    file = read_tensor_file(path, advice=STATE_ADVICE)
    if file.metadata.get("format") != STATE_FORMAT:
        raise ValueError(f"'{path.name}' is not a training of this version; choose another name for the new run")
    try:
        _restore(trainer, path, file, facts)
    except (KeyError, TypeError, AttributeError, RuntimeError, json.JSONDecodeError) as error:
        raise ValueError(f"'{path.name}' is damaged ({error}); {STATE_ADVICE.damaged}") from error


def _restore(trainer: Trainer, path: Path, file: TensorFile, facts: Mapping[str, str]) -> None:
    saved = {**json.loads(file.metadata["settings"]), **json.loads(file.metadata["facts"])}
    wanted = {**asdict(trainer.settings), **facts}
    differing = [
        name
        for name in sorted({*saved, *wanted})
        if saved.get(name) != wanted.get(name) and (name != MAY_DIFFER or trainer.settings.lr_schedule != "constant")
    ]
    if differing:
        name = differing[0]
        raise ValueError(
            f"'{path.name}' holds a training with {name} {saved.get(name)!r}, but now it is "
            f"{wanted.get(name)!r}; set it back to go on, or choose another name to start anew"
        )
    expected = {f"{WEIGHT}{name}" for name in trainer.weights}
    if expected - file.tensors.keys():
        raise ValueError(
            f"'{path.name}' lacks the weights of {min(expected - file.tensors.keys())}, because it belongs to a "
            "training of other layers; choose another name to start anew"
        )
    _apply(trainer, file.tensors, int(file.metadata["step"]))
    trainer.checks_of = file.metadata["checks_of"]


@torch.no_grad()
def _apply(trainer: Trainer, tensors: Mapping[str, Tensor], step: int) -> None:
    for name, weight in trainer.weights.items():
        weight.copy_(tensors[f"{WEIGHT}{name}"])
        state = {
            key.removeprefix(f"{OPTIMIZER}{name}."): value.to(weight.device) if value.ndim else value
            for key, value in tensors.items()
            if key.startswith(f"{OPTIMIZER}{name}.")
        }
        trainer.optimizer.state[weight] = state
    for name, averaged in trainer.averaged.items():
        averaged.copy_(tensors[f"{AVERAGED}{name}"])
    trainer.step, trainer.log = step, [tuple(row) for row in tensors[LOG].tolist()]
    trainer.checks = [tuple(row) for row in tensors[CHECKS].tolist()]
    trainer.mean_r = tensors.get(MEAN_R)
