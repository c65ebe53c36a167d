"""Every parser of the pack that reads what a stranger may have written, as a function of bytes.

Each takes anything and either accepts it or raises ValueError with one sentence; whatever else happens is a defect.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import save

from smooth_lora.files.tensor_file import read_tensor_file
from smooth_lora.files.video_part import Part, read_part, write_part
from smooth_lora.inversion.inversion_file import load_inversion
from smooth_lora.lora.parse import parse_lora
from smooth_lora.scores.rows import JOURNAL_HEADER, Conditions, Journal, Row
from smooth_lora.scores.smoothness import from_distances
from smooth_lora.walks.typed import parse_easings, parse_numbers, parse_prompts, parse_seeds
from smooth_lora.walks.walk import schedule_at

# In memory where there is such a place: millions of files are written.
FOLDER = Path(tempfile.mkdtemp(prefix="smooth-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))  # noqa: S108
LONGEST_SENTENCE = 600


class Defect(AssertionError):
    """A parser did something else than accept, or refuse in one sentence."""


def refused(parse: Callable[[], object]) -> str | None:
    """The sentence with which it refused, None if it accepted.

    raises: Defect
    """
    try:
        parse()
    except ValueError as error:
        sentence = str(error)
        if not sentence or "\n" in sentence or len(sentence) > LONGEST_SENTENCE or type(error) is not ValueError:
            raise Defect(f"{type(error).__name__} is no sentence for a user: {sentence[:1000]!r}") from error
        return sentence
    return None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _as_file(data: bytes, name: str) -> Path:
    path = FOLDER / name
    path.write_bytes(data)
    return path


def _with_header(data: bytes) -> bytes:
    """A safetensors file whose header is the data: random lengths would hardly ever be right."""
    return struct.pack("<Q", len(data)) + data + b"\0" * 64


def seeds(data: bytes) -> str | None:
    return refused(lambda: parse_seeds(_text(data)))


def prompts(data: bytes) -> str | None:
    return refused(lambda: parse_prompts(_text(data)))


def numbers(data: bytes) -> str | None:
    return refused(lambda: parse_numbers(_text(data), "weights"))


def positions(data: bytes) -> str | None:
    return refused(lambda: schedule_at(_text(data)))


def easings(data: bytes) -> str | None:
    return refused(lambda: parse_easings(_text(data)))


def lora_file(data: bytes) -> str | None:
    return refused(lambda: read_tensor_file(_as_file(data, "fuzzed.safetensors")))


def lora_header(data: bytes) -> str | None:
    return lora_file(_with_header(data))


PLACES = (
    "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.",
    "lora_unet_mid_block_attentions_0_",
    "base_model.model.mid_block.",
    "diffusion_model.middle_block.1.",
    "lora_te_text_model_encoder_layers_0_mlp_",
    "text_encoder.text_model.encoder.layers.0.",
    "",
    "a.",
)
LAYERS = ("to_q", "processor.to_q_lora", "proj_in", "to_out.0", "conv1", "fc1", "", "lora")
ROLES = (
    ".lora_up.weight",
    ".lora_down.weight",
    ".lora_A.weight",
    ".lora_B.weight",
    ".alpha",
    ".lora.up.weight",
    ".up.weight",
    ".down.weight",
    ".lora_mid.weight",
    ".dora_scale",
    ".diff",
    ".hada_w1_a",
    "",
    ".weight",
)
KINDS = (torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.float64, torch.bool)
VALUES = (1.0, 0.0, float("nan"), float("inf"), -1.0, 1e30)


def lora(data: bytes) -> str | None:
    """Tensors of all names, shapes and kinds that LoRA files have, and some that they have not: keys understood, pairs
    put together."""
    read = iter(data)

    def pick(choices):
        return choices[next(read, 0) % len(choices)]

    tensors = {}
    for _ in range(next(read, 0) % 12):
        shape = [next(read, 0) % 6 for _ in range(next(read, 0) % 5)]
        with suppress(RuntimeError, OverflowError):  # a value that the kind of number does not hold
            tensors[pick(PLACES) + pick(LAYERS) + pick(ROLES)] = torch.full(shape, pick(VALUES)).to(pick(KINDS))
    rest = _text(bytes(read))
    metadata = dict.fromkeys(("ss_network_alpha", "lora_adapter_metadata", "alpha")[: len(rest) % 4], rest)
    return refused(lambda: parse_lora(tensors, metadata, name="fuzzed.safetensors"))


def inversion_file(data: bytes) -> str | None:
    return refused(lambda: load_inversion(_as_file(data, "fuzzed.inversion.safetensors")))


def inversion_header(data: bytes) -> str | None:
    return inversion_file(_with_header(data))


def video_part(data: bytes) -> str | None:
    return refused(lambda: read_part(_as_file(data, "fuzzed.part.safetensors")))


def journal(data: bytes) -> str | None:
    return refused(Journal(_as_file(data, "fuzzed.jsonl")).read)


def journal_row(data: bytes) -> str | None:
    return journal((json.dumps(JOURNAL_HEADER) + "\n").encode() + data + b"\n")


TARGETS = {
    function.__name__: function
    for function in (
        seeds,
        prompts,
        numbers,
        positions,
        easings,
        lora_file,
        lora_header,
        lora,
        inversion_file,
        inversion_header,
        video_part,
        journal,
        journal_row,
    )
}


def examples() -> dict[str, list[bytes]]:
    """Something good for each parser, from which mutations begin."""
    tensors = {
        "a.lora_up.weight": torch.ones(3, 2),
        "a.lora_down.weight": torch.ones(2, 4),
        "a.alpha": torch.tensor(2.0, dtype=torch.float64),
    }  # 64 bytes, as _with_header adds
    good = save(tensors, metadata={"format": "pt"})
    header = good[8 : 8 + struct.unpack("<Q", good[:8])[0]]
    row = Row(
        Conditions("a", "", (1, 2), 4, 3.0, "euler", "normal", 64, 64, 4, "m", "t", "v"),
        from_distances([1.0, 2.0, 1.5], (64, 64, 3)),
    )
    line = row.to_json().encode()
    part = FOLDER / "good.part.safetensors"
    with suppress(OSError):
        write_part(Part(torch.zeros(2, 2, 3), [0.0, 1.0]), part)
    return {
        "seeds": [b"12, 99, 7", b"1;2\n3 4", b"18446744073709551615, 0"],
        "prompts": [b"one\ntwo", b"  \n"],
        "numbers": [b"1, -2.5e3, nan", b"[0.5; 1]"],
        "positions": [b"0, 0.25, 1", b"[0 1]"],
        "easings": [b"linear, ease in", b"ease out; ease in and out"],
        "lora_file": [good],
        "lora_header": [header],
        "lora": [bytes(range(60)), b"\x02\x02\x03\x02\0\0\0\0\0\x02\x02\x03\0\0\x01\0\0" + b'{"r": 4}'],
        "inversion_file": [good],
        "inversion_header": [header],
        "video_part": [part.read_bytes()],
        "journal": [(json.dumps(JOURNAL_HEADER) + "\n").encode() + line + b"\n"],
        "journal_row": [line],
    }
