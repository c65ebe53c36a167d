"""Train the demo checkpoint: `python -m demo.build [STAGE ...]`, with the host's own Python, on the CPU.

Stages, in order and all of them by default: vae, unet, decoder, assemble, lora, check. Each leaves its result
in .host/demo-build/. A finished stage is not repeated; an interrupted `unet` or `lora` stage continues where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable

import torch

from devtools.in_process import use_host
from devtools.layout import DEMO_BUILD as BUILD
from devtools.layout import DEMO_MODELS as MODELS
from devtools.layout import PACK

from . import assemble, check, release, train_decoder, train_unet, train_vae


def build_vae() -> None:
    """Train the VAE, unless that has been done."""
    if not (BUILD / "vae.pt").is_file():
        train_vae.train_vae(BUILD / "vae.pt")


def build_unet() -> None:
    """Train the UNet, or what is left of it."""
    train_unet.train_unet(BUILD)


def build_decoder() -> None:
    """Sharpen the VAE's decoder on the finished latents, unless that has been done."""
    if not (BUILD / "decoder.pt").is_file():
        train_decoder.train_decoder(BUILD)


def build_assemble() -> None:
    """Write this folder's checkpoint file, and the models folder that demo and tests use."""
    release.release(BUILD)
    assemble.assemble(MODELS)


def build_lora() -> None:
    """Train the Smooth-LoRA on the assembled checkpoint, in a host of its own, or go on with it."""
    subprocess.run([sys.executable, "-m", "demo.train_lora"], cwd=PACK, check=True)
    shutil.copyfile(BUILD / "lora.safetensors", assemble.LORA)
    assemble.assemble(MODELS)


def build_check() -> None:
    """Print how well the checkpoint obeys."""
    print(json.dumps(check.check(MODELS)))


STAGES: dict[str, Callable[[], None]] = {
    "vae": build_vae,
    "unet": build_unet,
    "decoder": build_decoder,
    "assemble": build_assemble,
    "lora": build_lora,
    "check": build_check,
}


def main() -> None:
    """Run the named stages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all)")
    arguments = parser.parse_args()
    unknown = set(arguments.stages) - set(STAGES)
    if unknown:
        parser.error(f"unknown stage {', '.join(sorted(unknown))}; there are {', '.join(STAGES)}")
    torch.set_num_threads(arguments.threads)
    use_host(BUILD / "host", cpu=True)
    for name in arguments.stages or STAGES:
        STAGES[name]()


if __name__ == "__main__":
    main()
