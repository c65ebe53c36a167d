"""Two processes of one group, alone with each other whatever else runs on the machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.multiprocessing as multiprocessing

LOOPBACK = {"linux": "lo", "darwin": "lo0"}  # elsewhere gloo takes the interface that the machine's name leads to


def together(work: Callable[[int, str], None], folder: Path) -> None:
    """Run work(rank, folder) in two processes of a group that meets in the folder."""
    # Neither leaves before both are done: a connection that one closes is an error to the other that still reads.
    done = multiprocessing.get_context("spawn").Barrier(2)
    multiprocessing.spawn(_one, (work, str(folder), done), nprocs=2)


def _one(rank: int, work: Callable[[int, str], None], folder: str, done) -> None:
    if sys.platform in LOOPBACK:  # a machine's name need not lead to it
        os.environ["GLOO_SOCKET_IFNAME"] = LOOPBACK[sys.platform]
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(str(Path(folder, "meet")), 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    work(rank, folder)
    done.wait()
    torch.distributed.destroy_process_group()
