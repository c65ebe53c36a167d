"""Put the demo checkpoint and its Smooth-LoRA into a models folder: `python demo/assemble.py MODELS_DIR`.

The repository holds the trained UNet and VAE; the text encoder (250 MB) is generated here. Needs torch and
safetensors, not the host. `python -m demo.assemble` is the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save

DEMO = Path(__file__).resolve().parent
if __package__:
    from .text_encoder import text_encoder_weights
else:  # started as a file, maybe by the Python of the portable ComfyUI, which looks for no module beside it
    text_encoder_weights = runpy.run_path(str(DEMO / "text_encoder.py"))["text_encoder_weights"]

UNET_VAE = DEMO / "smooth_demo_unet_vae.safetensors"
LORA = DEMO / "smooth_demo_lora.safetensors"
CHECKPOINT_NAME = "smooth_demo.safetensors"
LORA_NAME = "smooth_demo_lora.safetensors"


def sha256(path: Path) -> str:
    """Hash of one file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _record_of(target: Path) -> Path:
    return target.with_name(target.name + ".json")


def is_current(target: Path, sources: dict[str, str]) -> bool:
    """True if `target` is whole and was made from exactly these sources."""
    record = _record_of(target)
    if not (target.is_file() and record.is_file()):
        return False
    try:
        known = json.loads(record.read_text(encoding="ascii"))
    except ValueError:  # a record cut short by a crash: rebuild
        return False
    return known == {"sources": sources, "sha256": sha256(target)}


def put(target: Path, sources: list[Path], write: Callable[[Path], None]) -> bool:
    """Write `target` unless it is current: first beside it, then in one move. Returns whether it wrote."""
    hashes = {source.name: sha256(source) for source in sources}
    if is_current(target, hashes):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        write(part)
        record = json.dumps({"sources": hashes, "sha256": sha256(part)})
        _record_of(target).unlink(missing_ok=True)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    _record_of(target).write_text(record, encoding="ascii")
    return True


def write_checkpoint(unet_vae: Path, target: Path) -> None:
    """Join UNet and VAE with the generated text encoder. No metadata, so equal weights make equal files."""
    target.write_bytes(save({**load_file(unet_vae), **text_encoder_weights()}))


def assemble(models_dir: Path) -> None:
    """Write checkpoints/smooth_demo.safetensors and loras/smooth_demo_lora.safetensors below models_dir.

    Files that are already current are left alone.
    raises: FileNotFoundError if demo/ lacks one of the trained files
    """
    for source in (UNET_VAE, LORA):
        if not source.is_file():
            raise FileNotFoundError(f"{source} is missing: restore it from git, or rebuild it with demo.build")
    put(
        models_dir / "checkpoints" / CHECKPOINT_NAME,
        [UNET_VAE, DEMO / "text_encoder.py"],
        lambda part: write_checkpoint(UNET_VAE, part),
    )
    put(models_dir / "loras" / LORA_NAME, [LORA], lambda part: shutil.copyfile(LORA, part))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Put the demo checkpoint and its Smooth-LoRA into a models folder.")
    parser.add_argument("models_dir", type=Path, help="the folder that has or gets checkpoints/ and loras/")
    assemble(parser.parse_args().models_dir)
