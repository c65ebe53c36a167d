"""A command's config file, checked before the host is loaded."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from devtools.layout import BASE, COMFY, DEMO_MODELS
from devtools.report import Failure

REQUIRED = object()
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "None": "null",
    "table": "a table of names and values",
    "texts": "a list of texts or the path of a file with one on each line",
}


@dataclass(frozen=True)
class Field:
    """One name of a table: its kinds, names of KINDS with " | " between them, and its default."""

    kinds: str
    default: object = REQUIRED


Fields = Mapping[str, Field]

# Which ComfyUI: its folder, the one with input, output and user folders, and one more folder of models.
PLACE: Fields = {
    "comfyui": Field("str | None", None),
    "base": Field("str | None", None),
    "models": Field("str | None", None),
}


def fields_of(record: type) -> dict[str, Field]:
    """Returns the fields of a dataclass whose annotations are texts, as of all of the pack's."""
    return {
        field.name: Field(field.type, REQUIRED if field.default is MISSING else field.default)
        for field in fields(record)
    }


def walk_fields(side: int) -> dict[str, Field]:
    """Returns the fields that describe walks to be scored: prompts, a seed, and those of a WalkSetting."""
    from smooth_lora.scores.rows import WalkSetting  # and torch, on a device that is chosen by now

    defaults = {
        "negative": "",
        "steps": 25,
        "cfg": 7.5,
        "sampler_name": "euler",
        "scheduler": "normal",
        "width": side,
        "height": side,
        "frames": 11,
    }
    return {
        "prompts": Field("texts"),
        "seed": Field("int", 0),
        **{name: Field(field.kinds, defaults[name]) for name, field in fields_of(WalkSetting).items()},
    }


def part(values: Mapping[str, object], fields: Fields) -> dict[str, object]:
    """Those values that have one of the fields' names."""
    return {name: values[name] for name in fields}


class Config:
    """A config file.

    raises: Failure if there is no such file, or if it is no JSON table
    """

    def __init__(self, path: Path):
        self.path = path.resolve()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"the config {path} cannot be read ({error})") from error
        try:
            self.table = json.loads(text, object_pairs_hook=_without_doubles)
        except ValueError as error:
            raise Failure(f"{path.name} is no JSON: {error}") from error

    def checked(self, fields: Fields, table: object = None, inside: str = "") -> dict[str, object]:
        """The values of all fields, defaults filled in.

        table:  the whole file if not given; inside: its name
        raises: Failure for a name that is unknown or missing, or a value of another kind
        """
        table, before = self.table if table is None else table, f"{inside}." if inside else ""
        if not isinstance(table, dict):
            raise self.failure(f"{inside or 'the file'} must be {KINDS['table']}, got {_shown(table)}")
        for name in table:
            if name not in fields:
                near = difflib.get_close_matches(name, fields, 1)
                hint = f"did you mean {before}{near[0]}?" if near else f"known are {', '.join(fields)}"
                raise self.failure(f"{before}{name} is unknown; {hint}")
        for name, field in fields.items():
            if name not in table and field.default is REQUIRED:
                raise self.failure(f"{before}{name} is missing; give {_named(field.kinds)}")
        return {
            name: self._value(f"{before}{name}", field, table.get(name, field.default))
            for name, field in fields.items()
        }

    def texts(self, given: list[str] | str, name: str) -> tuple[str, ...]:
        """The texts of a list or of a file, empty lines left out.

        raises: Failure if there is no such file, or no text
        """
        if isinstance(given, str):
            file = self.file(given)
            if not file.is_file():
                raise self.failure(f"{name} names {file}, which is no file; give the path of a text file, or a list")
            given = file.read_text(encoding="utf-8").splitlines()
        found = tuple(text.strip() for text in given if text.strip())
        if not found:
            raise self.failure(f"{name} has no text; give at least one")
        return found

    def file(self, given: str) -> Path:
        """A path, seen from the folder of the config file."""
        return (self.path.parent / Path(given).expanduser()).resolve()

    def place(self, values: Mapping[str, str | None]) -> dict[str, Path | None]:
        """The folders of PLACE. Without a ComfyUI folder, the repository's own one and the demo's models.

        raises: Failure for a folder that is not there
        """
        given = {name: None if values[name] is None else self.file(values[name]) for name in PLACE}
        demo = given["comfyui"] is None
        comfy = COMFY if demo else given["comfyui"]
        if not (comfy / "main.py").is_file():
            raise self.failure(
                f"there is no ComfyUI in {comfy}; run `python install.py host`, or name your ComfyUI folder as comfyui"
            )
        if given["models"] is not None and not given["models"].is_dir():
            raise self.failure(f"models names {given['models']}, which is no folder")
        return {
            "comfyui": comfy,
            "base": given["base"] or (BASE if demo else comfy),
            "models": given["models"] or (DEMO_MODELS if demo else None),
        }

    def failure(self, message: str) -> Failure:
        """An error in this file."""
        return Failure(f"{self.path.name}: {message}")

    def _value(self, name: str, field: Field, value: object) -> object:
        if value is field.default:
            return value
        for kind in field.kinds.split(" | "):
            if _is(kind, value):
                return float(value) if kind == "float" else value
        raise self.failure(f"{name} must be {_named(field.kinds)}, got {_shown(value)}")


def _is(kind: str, value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "int": isinstance(value, int) and number,
        "float": number and math.isfinite(value),
        "str": isinstance(value, str),
        "bool": isinstance(value, bool),
        "None": value is None,
        "table": isinstance(value, dict),
        "texts": isinstance(value, str) or (isinstance(value, list) and all(isinstance(text, str) for text in value)),
    }[kind]


def _named(kinds: str) -> str:
    return " or ".join(KINDS[kind] for kind in kinds.split(" | "))


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise ValueError(f"{double} is there twice")
    return dict(pairs)
