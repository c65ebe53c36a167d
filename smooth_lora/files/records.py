"""Dataclasses as plain data, and back again with their types checked."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from ..wording import shortened

_ACCEPTED: dict[object, tuple[object, ...]] = {float: (float, int), int: (int, bool)}


class Dataclass(Protocol):
    """Any dataclass, as `dataclasses.fields` takes it."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Record = TypeVar("Record", bound=Dataclass)


def plain_data(value: object) -> object:
    """Returns records and mappings as dicts; lists stay as they are and must hold plain data already."""
    if is_dataclass(value):
        return {field.name: plain_data(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain_data(item) for key, item in value.items()}
    return tuple(map(plain_data, value)) if type(value) is tuple else value


def record_of(value: object, kind: type[Record], where: str) -> Record:
    """Makes a dataclass from a dict of its fields.

    where:  the fields that lead to this one, each with a dot behind it, for errors
    raises: ValueError or TypeError naming the field that is missing, unknown or of another type
    """
    if type(value) is not dict:
        raise TypeError(f"{where.rstrip('.')} is not a table")
    hints = get_type_hints(kind)
    if unknown := value.keys() - hints.keys():
        raise ValueError(f"{shortened(where + min(unknown))!r} is unknown")
    needed = {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}
    if missing := needed - value.keys():
        raise ValueError(f"{where + min(missing)!r} is missing")
    return kind(**{name: _typed(item, hints[name], f"{where}{name}") for name, item in value.items()})


def _typed(value: object, hint: Any, where: str) -> object:
    """Returns a value as a field with that type hint holds it."""
    origin, args = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return record_of(value, hint, f"{where}.")
    if origin in (Union, UnionType):
        options = [kind for kind in args if kind is not NoneType]
        if value is None and len(options) < len(args):
            return None
        if len(options) == 1:
            return _typed(value, options[0], where)
        for option in options:
            with suppress(TypeError, ValueError):
                return _typed(value, option, where)
    elif origin is tuple and type(value) is tuple:
        return tuple(_typed(item, args[0], f"{where}[{index}]") for index, item in enumerate(value))
    elif origin is list and type(value) is list:
        return value  # of plain data, which the field's owner looks into
    elif origin is Mapping and type(value) is dict:
        return {key: _typed(item, args[1], f"{where}.{key}") for key, item in value.items()}
    elif (origin is Literal and value in args) or (not origin and type(value) in _ACCEPTED.get(hint, (hint,))):
        return value
    raise TypeError(f"{where} is of the wrong type, {type(value).__name__}")
