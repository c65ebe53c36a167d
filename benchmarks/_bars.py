"""Bars: a number, what it has to be, and whether it is. One form for what benchmarks print and the page shows."""

from __future__ import annotations

import operator

Value = float | bool
RELATIONS = {"at_most": operator.le, "at_least": operator.ge, "equals": operator.eq}


def bar(value: Value, **relation: Value) -> dict[str, Value]:
    """The value held against one of RELATIONS, such as bar(1.01, at_most=1.03)."""
    ((name, wanted),) = relation.items()
    return {"value": value, name: wanted, "met": bool(RELATIONS[name](value, wanted))}


def relation_of(held: dict[str, Value]) -> tuple[str, Value]:
    """Name and bound of what a bar asks for."""
    return next((name, held[name]) for name in RELATIONS if name in held)
