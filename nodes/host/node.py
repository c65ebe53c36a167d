"""The base of our nodes: what arrives is looked at by the types of the Schema before a node works with it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from .api import io
from .wires import check_inputs


class Node(io.ComfyNode):
    """A node that refuses in one sentence what is not what its Schema says."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        execute = cls.__dict__.get("execute")
        if execute is not None and not hasattr(execute.__func__, "__wrapped__"):
            cls.execute = classmethod(_checked(execute.__func__))


def _checked(execute: Callable) -> Callable:
    order = inspect.signature(execute)

    @functools.wraps(execute)
    def run(cls: type[Node], *args: Any, **kwargs: Any) -> io.NodeOutput:
        given = order.bind(cls, *args, **kwargs)
        given.apply_defaults()
        schema = cls.SCHEMA or cls.define_schema()  # which lists folders, so the host keeps it
        check_inputs(schema.display_name, schema.inputs, _by_id(given, schema.inputs), schema.is_input_list)
        return execute(cls, *args, **kwargs)

    return run


def _by_id(given: inspect.BoundArguments, inputs: Iterable[Any]) -> dict[str, Any]:
    """Returns what arrived by the ids of the inputs; those that execute takes by ** are there, or at their defaults."""
    taken = [name for name, part in given.signature.parameters.items() if part.kind is part.VAR_KEYWORD]
    if not taken:
        return given.arguments
    defaults = {declared.id: getattr(declared, "default", None) for declared in inputs}
    named = {name: value for name, value in given.arguments.items() if name not in taken}
    return {**defaults, **named, **given.arguments[taken[0]]}
