"""The base of our nodes: what arrives is looked at by the types of the Schema before a node works with it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
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
        check_inputs(schema.display_name, schema.inputs, given.arguments, schema.is_input_list)
        return execute(cls, *args, **kwargs)

    return run
