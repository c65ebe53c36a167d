"""The base of our nodes: it checks what arrives by the types of the Schema, and unpacks lists."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from .api import io
from .wires import check_inputs


class Node(io.ComfyNode):
    """A node that refuses in one sentence what is not what its Schema says.

    LISTS: ids of the inputs that execute gets as lists, of a node whose Schema says is_input_list; it gets the others
           as single values, the first of their lists
    """

    LISTS: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        execute = cls.__dict__.get("execute")
        if execute is not None and not hasattr(execute.__func__, "__wrapped__"):
            cls.execute = classmethod(_checked(execute.__func__))


def _checked(execute: Callable[..., io.NodeOutput]) -> Callable[..., io.NodeOutput]:
    signature = inspect.signature(execute)
    defaults = {name: given.default for name, given in signature.parameters.items() if given.default is not given.empty}

    @functools.wraps(execute)
    def run(cls: type[Node], *args: Any, **kwargs: Any) -> io.NodeOutput:
        schema = cls.SCHEMA or cls.define_schema()  # which lists folders, so the host keeps it
        arrived = _by_name(signature, cls, args, kwargs)
        values = {one.id: defaults.get(one.id, getattr(one, "default", None)) for one in schema.inputs}
        if schema.is_input_list:
            values = {name: value if name in cls.LISTS else [value] for name, value in values.items()}
        check_inputs(schema.display_name, schema.inputs, {**values, **arrived}, schema.is_input_list)
        return execute(cls, **(_single(arrived, cls.LISTS) if schema.is_input_list else arrived))

    return run


def _by_name(signature: inspect.Signature, cls: type[Node], args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of a call of execute by the ids of its inputs, those that it collects included."""
    bound = signature.bind(cls, *args, **kwargs).arguments
    named: dict[str, Any] = {}
    for name, parameter in list(signature.parameters.items())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            named |= bound.get(name, {})
        elif name in bound:
            named[name] = bound[name]
    return named


def _single(lists: dict[str, Any], kept: tuple[str, ...]) -> dict[str, Any]:
    """Takes the first of each list but the kept ones; an empty one leaves its input to the default."""
    return {name: values if name in kept else values[0] for name, values in lists.items() if values or name in kept}
