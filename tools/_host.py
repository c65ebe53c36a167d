"""The host for a command: its device, its models, the other processes, and a stop by Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from devtools.in_process import HostPack, use_host
from devtools.report import Failure, say
from tools._config import Config

RANK, LOCAL_RANK = (int(os.environ.get(name, 0)) for name in ("RANK", "LOCAL_RANK"))
TOGETHER = int(os.environ.get("WORLD_SIZE", 1)) > 1
# The others wait for as long as the first process checks or encodes. Torchrun notices one that died long before.
LONGEST_WAIT = timedelta(hours=24)
STOPPED = 130  # exit code, as a shell has it for Ctrl-C


class Stopped(Exception):
    """The command was asked to stop; the message says how to go on."""


class Stop:
    """Listens for Ctrl-C, and for the signal with which a scheduler ends a process.

    at_once: what is under way may be broken off between two calls of the model; otherwise `asked` is to be looked at,
             and only a second Ctrl-C breaks off
    """

    def __init__(self):
        self.asked, self.at_once = False, True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._heard)

    def _heard(self, *_: object) -> None:
        if self.asked or self.at_once:
            import comfy.model_management

            comfy.model_management.interrupt_current_processing()
        self.asked = True


@contextmanager
def until_stopped(message: str) -> Iterator[Stop]:
    """Listen for Ctrl-C.

    message: says how to go on
    raises:  Stopped where the work was broken off
    """
    from comfy.model_management import InterruptProcessingException

    stop = Stop()
    try:
        yield stop
    except InterruptProcessingException as error:
        raise Stopped(message) from error
    except RuntimeError as error:  # of a group whose other processes have stopped already
        if not stop.asked:
            raise
        raise Stopped(message) from error


def tell(text: str) -> None:
    """One line of progress, of the first process alone."""
    if RANK == 0:
        say(text)


def open_host(place: Mapping[str, Path | None]) -> HostPack:
    """Loads the host and the pack in it.

    place: see Config.place
    """
    use_host(place["base"], place["comfyui"], place["models"])
    import comfy.utils

    comfy.utils.set_progress_bar_enabled(False)
    return HostPack()


def _choose_device() -> None:
    """Lets torch see one GPU, that of this process's place on its machine. The host takes the first that it sees.

    raises: ValueError if this machine has fewer devices than processes
    """
    if "LOCAL_RANK" not in os.environ:
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = None if visible is None else [device for device in visible.split(",") if device.strip()]
    if devices and len(devices) <= LOCAL_RANK:
        raise ValueError(
            f"CUDA_VISIBLE_DEVICES names {len(devices)} devices, but there are more processes on this "
            "machine; start as many as it has devices with torchrun --nproc_per_node"
        )
    if devices != []:
        chosen = str(LOCAL_RANK) if devices is None else devices[LOCAL_RANK]
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["HIP_VISIBLE_DEVICES"] = chosen


@contextmanager
def processes(pack: HostPack) -> Iterator:
    """The Processes that torchrun has started, as one group; a single one without it.

    raises: ValueError if only some of them have a GPU
    """
    import torch

    kind = pack.module("smooth_lora.training.processes").Processes
    if not TOGETHER:
        yield kind()
        return
    gpu = torch.cuda.is_available()
    # Tensors of the training go from GPU to GPU, words over the CPU.
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=LONGEST_WAIT)
    group = kind.present()
    without = [rank for rank, said in enumerate(group.gathered("gpu" if gpu else "")) if not said]
    if 0 < len(without) < group.size:
        raise ValueError(
            f"process {without[0]} has no GPU, but others have one; start as many on each machine as it "
            "has GPUs with torchrun --nproc_per_node"
        )
    yield group
    # Not after an error: the others may never come to it.
    torch.distributed.destroy_process_group()


def model_name(config: Config, kind: str, given: str, field: str) -> str:
    """The name by which the host loads a model; one that is given as a path becomes known to it.

    kind:   checkpoints or loras
    raises: Failure if there is none
    """
    import folder_paths

    file = config.file(given)
    if file.is_file():
        folder_paths.add_model_folder_path(kind, str(file.parent), is_default=True)
        return file.name
    known = folder_paths.get_filename_list(kind)
    if given not in known:
        some = ", ".join(known[:5]) + (" ..." if len(known) > 5 else "")
        raise config.failure(f"{field} {given} is neither a file nor one of ComfyUI's {kind} ({some or 'it has none'})")
    return given


def require_in_bounds(config: Config, node: type, values: Mapping[str, object], inside: str = "") -> None:
    """Refuse what a node's own widgets would not take.

    raises: Failure naming the first such value
    """
    for widget in node.GET_SCHEMA().inputs:
        value, name = values.get(widget.id), f"{inside}{widget.id}"
        options, low, high = (getattr(widget, bound, None) for bound in ("options", "min", "max"))
        if value is None:
            continue
        if options and value not in options:
            raise config.failure(f"{name} must be one of {', '.join(map(str, options))}, got {value}")
        if (low is not None and value < low) or (high is not None and value > high):
            raise config.failure(f"{name} must be from {low} to {high}, got {value}")


def run_command(work: Callable[[], None]) -> int:
    """Does a command's work on this process's device; returns its exit code, with what went wrong in one line.

    The device is chosen first: the work may load torch, which looks for its devices once. Before the processes are one
    group each finds the same fault, so the first one of each machine says it.
    """
    try:
        _choose_device()
        work()
    except Failure as error:
        if LOCAL_RANK == 0:
            print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    except Stopped as stopped:
        tell(str(stopped))
        return STOPPED
    except KeyboardInterrupt:
        tell("stopped")
        return STOPPED
    except (ValueError, OSError) as error:
        print(f"error{f' in process {RANK}' if TOGETHER else ''}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0
