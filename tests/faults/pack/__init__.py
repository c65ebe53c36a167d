"""Faults on order, loaded into a test server beside the pack: what is broken from here on is told over HTTP.

POST /smooth_faults {"kind": ..., ...} breaks one thing until the next POST:

    {}                                          nothing
    {"kind": "memory", "seed", "share"}         calls of the model with more than one frame run out of memory, at random
    {"kind": "memory_always"}                   every call of the model does
    {"kind": "disk_full", "under"}              files below that folder cannot be written: no space is left
    {"kind": "nan", "call"}                     the model answers NaN from that call on
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import random

import comfy.model_base
import safetensors.torch
import torch
from aiohttp import web
from server import PromptServer

NODE_CLASS_MAPPINGS: dict = {}
_real_open, _real_apply = builtins.open, comfy.model_base.BaseModel.apply_model
_real_serialize = safetensors.torch.serialize_file
_fault: dict = {}


class _Full:
    """A file on a disk without room: it can be opened, and nothing gets into it."""

    def __init__(self, file):
        self._file = file

    def write(self, *_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fileno(self):  # or what is written in C would get past
        raise io.UnsupportedOperation("fileno")

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def _open(file, mode="r", *args, **kwargs):
    opened = _real_open(file, mode, *args, **kwargs)
    writes = any(letter in mode for letter in "wax+")
    if _fault.get("kind") == "disk_full" and writes and str(file).startswith(_fault["under"]):
        return _Full(opened)
    return opened


def _apply(self, x, *args, **kwargs):
    kind = _fault.get("kind")
    if kind == "memory_always" or (kind == "memory" and x.shape[0] > 2 and _fault["random"].random() < _fault["share"]):
        raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")
    answer = _real_apply(self, x, *args, **kwargs)
    if kind == "nan":
        _fault["call"] -= 1
        if _fault["call"] < 0:
            return answer * float("nan")
    return answer


def _serialize(tensors, filename, *args, **kwargs):
    if _fault.get("kind") == "disk_full" and str(filename).startswith(_fault["under"]):
        raise safetensors.SafetensorError("Io error: No space left on device (os error 28)")
    return _real_serialize(tensors, filename, *args, **kwargs)


safetensors.torch.serialize_file = _serialize
builtins.open, comfy.model_base.BaseModel.apply_model = _open, _apply


@PromptServer.instance.routes.post("/smooth_faults")
async def order(request):
    asked = await request.json()
    _fault.clear()
    _fault.update(asked, random=random.Random(asked.get("seed", 0)))
    return web.json_response({})
