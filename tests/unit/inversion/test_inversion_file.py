"""Inversion files: back bit for bit, whole or not there at all, and refused with one sentence."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from smooth_lora.files import whole
from smooth_lora.inversion import inversion_file
from smooth_lora.inversion.inversion_file import load_inversion, save_inversion
from smooth_lora.inversion.record import Inversion, PictureReceipt, Receipt
from smooth_lora.sampling.scale import Scale
from smooth_lora.scores.quality import PictureQuality

STEPS, PICTURES = 3, 2
BIG = torch.arange(48.0).reshape(2, 4, 6)


def receipt() -> Receipt:
    quality = PictureQuality(0.0, math.inf, 1.0)
    noise = MappingProxyType({"mean": -0.0, "std": 1.0})
    first = PictureReceipt(1e-16, noise, quality, None, PictureQuality(0.1, 33.25, 0.9))
    pictures = (first, PictureReceipt(math.nan, {}))
    errors = tuple((k * 1e-3, 0.1 + 0.2) for k in range(STEPS + 1))
    return Receipt(pictures, errors, 6.0, 3, 1.25, None, ("step 2 fell back", "caf\u00e9"))


def texts() -> tuple[list, list]:
    """One of everything that a text may carry."""
    deep = {
        "none": None,
        "yes": True,
        "one": 1,
        "one.": 1.0,
        "seed": 2**64 - 1,
        "large": -(3**9000),
        "minus": -0.0,
        "third": 1 / 3,
        "tiny": 5e-324,
        "inf": math.inf,
        "nan": struct.unpack(">d", b"\xff\xf8\0\0\0\0\0\7")[0],
        "text": 'caf\u00e9 \U0001f600 "$\\\0',
        "": {},
    }
    entry = {
        "pooled_output": torch.randn(1, 5).half(),
        "area": (8, 8, 0, 0),
        "share": ("percentage", 0.5, [1, (2,)], ()),
        "nested": {"a": [{"b": (torch.randn(3, 2).bfloat16(), None)}], "deep": deep, "$tuple": [1], "": {"$x": 1}},
        "mask": BIG[:, 1::2].transpose(0, 1),
        "flat": torch.ones(1).expand(3, 4),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "flags": torch.tensor([True, False]),
        "bits": torch.tensor([math.nan, -0.0]),
        "eight": torch.tensor([1.5, -2]).to(torch.float8_e4m3fn),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    return [[torch.randn(2, 7, 4), entry], [None, {"z": 1, "a": 2}]], [[BIG, {"same": BIG, "row": BIG[0]}]]


def inversion(**changes: object) -> Inversion:
    torch.manual_seed(3)
    shape = (PICTURES, 4, 5, 3)
    positive, negative = texts()
    made = Inversion(
        method="edit_friendly",
        cfg=7.5,
        sigmas=torch.tensor([14.6, 3.1, 0.5, 0.0], dtype=torch.float64),
        states=torch.randn(STEPS + 1, *shape, dtype=torch.float64),
        noise=torch.randn(shape),
        scale=Scale("flow", 1.0),
        model="0123456789abcdef",
        positive=positive,
        negative=negative,
        settings={"steps": 3, "scheduler": "normal", "eta": 0.1, "seed": 2**64 - 1},
        nulls=torch.randn(STEPS, 1, 7, 4),
        residuals=torch.randn(STEPS, *shape, dtype=torch.float64),
        receipt=receipt(),
    )
    return dataclasses.replace(made, **changes)


def small(**changes: object) -> Inversion:
    return inversion(**{"positive": [[torch.ones(1, 2), {"a": (1, 2.5)}]], "negative": [], **changes})


def assert_same(a: object, b: object) -> None:
    """Equal in value, type, order and every bit."""
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape
        assert a.detach().contiguous().flatten().view(torch.uint8).equal(b.contiguous().flatten().view(torch.uint8))
        assert b.device.type == "cpu" and b.is_contiguous()
    elif dataclasses.is_dataclass(a):
        assert type(a) is type(b)
        for field in dataclasses.fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, (dict, MappingProxyType)):
        assert type(b) is dict and list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b) and len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            assert_same(left, right)
    elif isinstance(a, float):
        assert type(b) is float and struct.pack(">d", a) == struct.pack(">d", b)
    else:
        assert type(a) is type(b) and a == b


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cat.safetensors"


@pytest.mark.parametrize("receipt_too", [True, False])
def test_everything_comes_back_bit_for_bit(path: Path, receipt_too: bool):
    made = (
        inversion()
        if receipt_too
        else inversion(receipt=None, residuals=None, nulls=None, method="ddim", cfg=1, settings={})
    )
    save_inversion(made, path)
    assert_same(made, load_inversion(path))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_inversion_is_not_changed(path: Path):
    made, again = inversion(), inversion()
    save_inversion(made, path)
    pairs = [(made.positive[0][1]["mask"], again.positive[0][1]["mask"]), (made.states, again.states)]
    assert all(torch.equal(a, b) and a.stride() == b.stride() for a, b in pairs)
    assert list(made.positive[0][1]) == list(again.positive[0][1])


def test_another_reader_finds_plain_tensors_and_strict_json(path: Path):
    made = small()
    save_inversion(made, path)
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == {"sigmas", "states", "noise", "nulls", "residuals", "text.0"}
        assert torch.equal(file.get_tensor("states"), made.states)
        metadata = file.metadata()
    assert metadata["format"] == "Smooth Diffusion inversion" and metadata["version"] == "1"
    content = json.loads(metadata["content"], parse_constant=lambda _: pytest.fail("not strict JSON"))
    assert content["settings"] == dict(made.settings) and content["cfg"] == 7.5
    assert content["positive"] == [[{"$tensor": "text.0"}, {"a": {"$tuple": [1, 2.5]}}]]


def test_a_tensor_that_two_texts_share_is_stored_once(path: Path):
    large = torch.randn(64, 64)
    text = [[large, {"image": large}]]
    save_inversion(small(positive=text, negative=text), path)
    with safe_open(path, framework="pt") as file:
        assert [key for key in file.keys() if key.startswith("text.")] == ["text.0"]  # noqa: SIM118


def test_what_was_loaded_outlives_the_file(path: Path):
    save_inversion(small(), path)
    loaded = load_inversion(path)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert_same(small(), loaded)


class ControlNet:
    pass


LOOP: list = []
LOOP.append(LOOP)
AGAIN = "which a file cannot hold; save an inversion that was made without it, and apply it again after loading$"
UNSTORABLE = {
    "control": ({"control": ControlNet()}, rf"^the positive text carries a ControlNet \('control'\), {AGAIN}"),
    "hooks": ({"hooks": ControlNet()}, r"carries a group of hooks \('hooks'\), which"),
    "gligen": ({"gligen": ("position", ControlNet(), [])}, r"carries a GLIGEN model \('gligen'\), which"),
    "object": ({"clip": [{"out": ControlNet()}]}, rf"an object of type ControlNet \('clip'\), {AGAIN}"),
    "callable": ({"f": len}, r"an object of type builtin_function_or_method \('f'\)"),
    "key": ({"t": {1: 2}}, r"a table whose keys are not all texts \('t'\)"),
    "set": ({"s": {1}}, r"an object of type set \('s'\)"),
    "loop": ({"l": LOOP}, r"a value that is nested more than 64 deep \('l'\)"),
    "dtype": ({"c": torch.zeros(1, dtype=torch.complex128)}, r"a tensor of torch.complex128 \('c'\)"),
    "sparse": ({"s": torch.eye(2).to_sparse()}, r"a tensor that is sparse or has no values \('s'\)"),
    "meta": ({"m": torch.zeros(1, device="meta")}, r"a tensor that is sparse or has no values \('m'\)"),
    "unicode": ({"u": "\ud83d\ude00"}, r"a text that is not valid Unicode \('u'\)"),
}


@pytest.mark.parametrize("case", UNSTORABLE)
def test_what_a_file_cannot_hold_is_named(path: Path, case: str):
    carried, sentence = UNSTORABLE[case]
    with pytest.raises(ValueError, match=sentence):
        save_inversion(small(positive=[[None, {"fine": 1, **carried}]]), path)
    assert not list(path.parent.iterdir())


def test_other_places_that_a_file_cannot_hold_are_named(path: Path):
    with pytest.raises(ValueError, match="^the negative text carries an object of type ControlNet, which"):
        save_inversion(small(negative=[[ControlNet(), {}]]), path)
    with pytest.raises(ValueError, match="^the inversion's 'settings' carries an object of type set"):
        save_inversion(small(settings={"a": set()}), path)
    with pytest.raises(ValueError, match="take 9,...,... bytes without their tensors, but a file holds 8,"):
        save_inversion(small(positive=[[None, {"a": "x" * 9_000_000}]]), path)
    assert not list(path.parent.iterdir())


WRITERS: dict[str, Callable[..., None]] = {"save_file": save_file, "fsync": whole.os.fsync, "replace": whole.os.replace}


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), SafetensorError("IoError"), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("where", WRITERS)
def test_a_failure_leaves_the_old_file_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
):
    save_inversion(small(), path)

    def fail(*arguments: object, **_: object) -> None:
        if where == "save_file":
            Path(arguments[1]).write_bytes(b"half of it")
        raise error

    owner = whole if where == "save_file" else whole.os
    monkeypatch.setattr(owner, where, fail)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OSError) as raised:
        save_inversion(small(cfg=2.0), path)
    monkeypatch.undo()
    if not isinstance(error, KeyboardInterrupt):
        assert str(raised.value).startswith(f"'cat.safetensors' could not be written ({error}); see that the folder")
    assert load_inversion(path).cfg == 7.5
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(OSError, match=r"^'a' could not be written \(.*\); see that the folder .*none exists"):
        save_inversion(small(), tmp_path / "none" / "a")


def raw_header(entries: dict) -> bytes:
    raw = json.dumps(entries).encode()
    return struct.pack("<Q", len(raw)) + raw


NOT_WHOLE = (
    r"^'cat.safetensors' is not a whole safetensors file \(.*\); choose a file that was saved as an "
    "inversion, or copy it again if it was cut short$"
)
BYTES = {
    "empty": b"",
    "text": b"no tensors, just a letter to you",
    "pickle": b"\x80\x04K\x01.",
    "deep": struct.pack("<Q", 100_000) + b"[" * 100_000,
    "huge header": struct.pack("<Q", 2**63) + b"{}",
    "other metadata": raw_header({"__metadata__": {"format": 1}}),
    "wild shape": raw_header(
        {
            "__metadata__": {"format": inversion_file.INVERSION_FORMAT, "version": "1"},
            "states": {"dtype": "F64", "shape": [0, 2**63, 4], "data_offsets": [0, 0]},
        }
    ),
}


@pytest.mark.parametrize("case", BYTES)
def test_what_is_no_safetensors_file_is_refused(path: Path, case: str):
    path.write_bytes(BYTES[case])
    with pytest.raises(ValueError, match=NOT_WHOLE):
        load_inversion(path)


@pytest.mark.parametrize("kept", [1, 8, 300, -100, -1])
def test_a_cut_short_file_is_refused(path: Path, kept: int):
    save_inversion(small(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=NOT_WHOLE):
        load_inversion(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"^'gone' does not exist; choose a file that was saved as an inversion$"):
        load_inversion(tmp_path / "gone")
    with pytest.raises(ValueError, match="cannot be read|is not a whole"):
        load_inversion(tmp_path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"ss_network_module": "lora"}])
def test_another_kind_of_file_is_refused(path: Path, metadata: dict | None):
    save_file({"lora_up.weight": torch.zeros(2)}, path, metadata)
    with pytest.raises(ValueError, match=r"^'cat.safetensors' is a safetensors file, but not an inversion .it may be"):
        load_inversion(path)


def stored(path: Path) -> tuple[dict, dict]:
    """What a file says, and its tensors, read on our own."""
    save_inversion(small(), path)
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["content"]), tensors


def forge(path: Path, tensors: dict, content: str, changes: dict | None = None) -> None:
    """A file of any content with the right checksum, which is counted as the format says it is."""
    names = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16"}
    listing = [[name, names[tensors[name].dtype], list(tensors[name].shape)] for name in sorted(tensors)]
    digest = hashlib.sha256(json.dumps(["Smooth Diffusion inversion", 1, content, listing]).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].numpy().tobytes())
    save_file(
        tensors,
        path,
        {
            "format": "Smooth Diffusion inversion",
            "version": "1",
            "content": content,
            "sha256": digest.hexdigest(),
            **(changes or {}),
        },
    )


def test_the_checksum_is_what_the_format_says(path: Path):
    content, tensors = stored(path)
    forge(path, tensors, json.dumps({**content, "cfg": 3.25}))
    assert_same(small(cfg=3.25), load_inversion(path))


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        (
            {"version": "2"},
            r"^'cat.safetensors' was written by a newer Smooth Diffusion \(file version 2, this one reads "
            r"1\); update Smooth Diffusion$",
        ),
        ({"version": "9" * 5000}, "is damaged, its file version is '9{20}...'; copy it again"),
        ({"version": "one"}, "is damaged, its file version is 'one'"),
        ({"version": ""}, "is damaged, its file version is ''"),
        (
            {"sha256": "0" * 64},
            "^'cat.safetensors' is damaged, its content does not fit its checksum; copy it again, or "
            "invert the picture again$",
        ),
        ({"content": "{}", "sha256": hashlib.sha256(b"{}").hexdigest()}, "does not fit its checksum"),
    ],
)
def test_a_wrong_version_or_checksum_is_refused(path: Path, metadata: dict, sentence: str):
    content, tensors = stored(path)
    forge(path, tensors, json.dumps(content), metadata)
    with pytest.raises(ValueError, match=sentence):
        load_inversion(path)


def nested(depth: int) -> str:
    return '{"settings": ' + "[" * depth + "]" * depth + "}"


CONTENTS = {
    "not json": ("{", r"^'cat.safetensors' does not describe an inversion \(.*\); invert the picture again$"),
    "no table": ("[1]", "does not describe an inversion .its description is not a table.; "),
    "empty": ("{}", "'cfg' is missing"),
    "nan": ('{"cfg": NaN}', "NaN is not JSON"),
    "deep": (nested(1_000_000), "it is nested too deeply"),
    "less deep": (nested(900), "nested too deeply|is of the wrong type|is missing"),
    "huge": ('{"model": "' + "a" * (8 << 20) + '"}', "take 8,388,6.. bytes"),
    "long number": ('{"cfg": ' + "9" * 5000 + "}", "does not describe"),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_a_hostile_description_is_refused(path: Path, case: str):
    content, sentence = CONTENTS[case]
    tensors = {name: tensor for name, tensor in stored(path)[1].items() if not name.startswith("text.")}
    forge(path, tensors, content)
    with pytest.raises(ValueError, match=sentence):
        load_inversion(path)


DESCRIPTIONS: dict[str, tuple[Callable[[dict], object], str]] = {
    "missing": (lambda c: c.pop("model"), r"\('model' is missing\); invert"),
    "unknown": (lambda c: c.update(extra=1), "'extra' is unknown"),
    "type": (lambda c: c.update(cfg="7"), "cfg is of the wrong type, str"),
    "bool for text": (lambda c: c.update(model=True), "model is of the wrong type, bool"),
    "list for a tensor": (lambda c: c.update(nulls=[1]), "nulls is of the wrong type, list"),
    "settings": (lambda c: c.update(settings={"a": [1]}), "settings.a is of the wrong type, list"),
    "scale": (lambda c: c.update(scale=3), "scale is not a table"),
    "kind": (lambda c: c["scale"].update(kind="vp"), "scale.kind is of the wrong type"),
    "sigma_data": (lambda c: c["scale"].update(sigma_data=0.0), "contradicts itself, sigma_data is 0.0"),
    "cfg": (lambda c: c.update(cfg={"$float": "7ff0000000000000"}), "contradicts itself, cfg is inf"),
    "huge cfg": (lambda c: c.update(cfg={"$int": hex(10**400)}), "does not describe"),
    "receipt": (lambda c: c["receipt"].pop("seconds"), "'receipt.seconds' is missing"),
    "receipt part": (
        lambda c: c["receipt"]["pictures"]["$tuple"][0]["against_input"].pop("mse"),
        r"'receipt.pictures\[0\].against_input.mse' is missing",
    ),
    "receipt list": (lambda c: c["receipt"].update(pictures=[]), "receipt.pictures is of the wrong type, list"),
    "receipt pictures": (lambda c: c["receipt"]["pictures"]["$tuple"].pop(), "is about 1 pictures instead of 2"),
    "receipt rows": (lambda c: c["receipt"]["step_errors"]["$tuple"].pop(), "does not have one error for every"),
    "method": (
        lambda c: c.update(method="magic"),
        r"^'cat.safetensors' was made with the method 'magic', but this Smooth Diffusion knows exact, .*; "
        r"update Smooth Diffusion, or invert the picture again with one of these$",
    ),
    "text": (lambda c: c["positive"][0].pop(1), "positive is not a list of texts with their settings"),
    "text tensor": (lambda c: c.update(negative=[["a", {}]]), "negative holds a text that is not a tensor"),
    "texts": (lambda c: c.update(negative={}), "negative is of the wrong type, dict"),
    "no such tensor": (lambda c: c.update(negative=[[{"$tensor": "text.9"}, {}]]), "'text.9'} stands for nothing"),
    "own tensor": (lambda c: c.update(negative=[[{"$tensor": "states"}, {}]]), "'states'} stands for nothing"),
    "tensor of a list": (lambda c: c.update(negative=[[{"$tensor": []}, {}]]), "does not describe"),
    "unused tensor": (lambda c: c.update(positive=[]), "nothing refers to the tensor 'text.0'"),
    "mark": (lambda c: c.update(model={"$what": 1}), "stands for nothing"),
    "tuple": (lambda c: c.update(model={"$tuple": 5}), "stands for nothing"),
    "float": (lambda c: c.update(cfg={"$float": "7f"}), "does not describe"),
    "float 2": (lambda c: c.update(cfg={"$float": 7}), "does not describe"),
    "int": (lambda c: c.update(cfg={"$int": "zz"}), "does not describe"),
    "int 2": (lambda c: c.update(cfg={"$int": 5}), "does not describe"),
}


@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_a_description_that_is_none_is_refused(path: Path, case: str):
    change, sentence = DESCRIPTIONS[case]
    content, tensors = stored(path)
    del tensors["nulls"]
    change(content)
    forge(path, tensors, json.dumps(content))
    with pytest.raises(ValueError, match=sentence):
        load_inversion(path)


TENSORS: dict[str, tuple[dict[str, object], str]] = {
    "states": (
        {"states": torch.zeros(3, 2, 4, 5, 3).double()},
        r"^'cat.safetensors' contradicts itself, states has shape \(3, 2, 4, 5, 3\), but 3 steps and noise "
        r"\(2, 4, 5, 3\) need \(4, 2, 4, 5, 3\); invert the picture again$",
    ),
    "noise": ({"noise": torch.zeros(1, 4, 5, 3)}, r"states has shape .*noise \(1, 4, 5, 3\) need \(4, 1, 4, 5, 3\)"),
    "flat noise": ({"noise": torch.zeros(2)}, r"noise has shape \(2,\), which holds no pictures"),
    "no noise": ({"noise": torch.zeros(0, 4)}, r"noise has shape \(0, 4\), which holds no pictures"),
    "residuals": ({"residuals": torch.zeros(4, 2, 4, 5, 3).double()}, r"residuals has shape .* need \(3, 2, 4, 5, 3\)"),
    "no residuals": ({"residuals": None}, "the method edit_friendly needs residuals, and there are none"),
    "nulls steps": (
        {"nulls": torch.zeros(2, 1, 7, 4)},
        r"nulls has shape \(2, 1, 7, 4\), but 3 steps need 3 texts for 1 or 2 pictures",
    ),
    "nulls pictures": ({"nulls": torch.zeros(3, 3, 7, 4)}, "nulls has shape"),
    "nulls flat": ({"nulls": torch.zeros(3, 1, 7)}, "nulls has shape"),
    "rising": ({"sigmas": torch.tensor([1.0, 2, 0.5, 0]).double()}, "sigmas do not fall from noise to picture"),
    "equal": ({"sigmas": torch.tensor([2.0, 2, 0.5, 0]).double()}, "sigmas do not fall"),
    "infinite": ({"sigmas": torch.tensor([math.inf, 2, 0.5, 0]).double()}, "sigmas do not fall"),
    "nan": ({"sigmas": torch.tensor([3, 2, math.nan, 0]).double()}, "sigmas do not fall"),
    "negative": ({"sigmas": torch.tensor([3.0, 2, 1, -1]).double()}, "sigmas do not fall"),
    "one sigma": ({"sigmas": torch.tensor([1.0]).double()}, r"sigmas has shape \(1,\), but one step needs two"),
    "table of sigmas": ({"sigmas": torch.zeros(4, 1).double()}, r"sigmas has shape \(4, 1\)"),
    "dtype": ({"states": torch.zeros(4, 2, 4, 5, 3)}, "states is torch.float32 instead of torch.float64"),
    "unknown": ({"extra": torch.zeros(1)}, "'extra' is unknown"),
    "unused": ({"text.1": torch.zeros(1)}, "nothing refers to the tensor 'text.1'"),
    "missing": ({"states": None}, "'states' is missing"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_contradict_each_other_are_refused(path: Path, case: str):
    changes, sentence = TENSORS[case]
    content, tensors = stored(path)
    tensors = {name: tensor for name, tensor in {**tensors, **changes}.items() if tensor is not None}
    forge(path, tensors, json.dumps(content))
    with pytest.raises(ValueError, match=sentence):
        load_inversion(path)


@pytest.mark.parametrize("case", ["states", "residuals", "rising", "dtype"])
def test_what_could_not_be_loaded_is_not_saved(path: Path, case: str):
    changes, sentence = TENSORS[case]
    with pytest.raises(ValueError, match=sentence.replace("^'cat.safetensors'", "^the inversion")):
        save_inversion(small(**changes), path)
    assert not path.exists()


def test_a_kind_of_number_that_no_inversion_has(path: Path):
    metadata = {"format": inversion_file.INVERSION_FORMAT, "version": "1"}
    save_file({"states": torch.zeros(2, dtype=torch.complex64)}, path, metadata)
    with pytest.raises(ValueError, match="holds a kind of number that no inversion has .'states'.; invert"):
        load_inversion(path)


def test_a_flipped_byte_is_noticed(path: Path):
    made = small()
    save_inversion(made, path)
    whole = path.read_bytes()
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    inside = torch.linspace(0, header - 1, 48).long().tolist()
    refused = 0
    for number, position in enumerate([*inside, *torch.linspace(header, len(whole) - 1, 16).long().tolist()]):
        damaged = bytearray(whole)
        damaged[position] ^= (1, 2, 0x20, 0x80, 0xFF)[number % 5]
        path.write_bytes(damaged)
        try:
            loaded = load_inversion(path)
        except ValueError as error:
            refused += 1
            assert "'cat.safetensors'" in str(error)
        else:
            assert_same(made, loaded)
    assert refused >= 60
