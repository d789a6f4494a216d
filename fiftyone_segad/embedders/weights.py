"""Reads the tensors of a PyTorch weights file without PyTorch, and without running what the file says.

The format (PyTorch's before version 1.6) is a few pickled values, the last two of which are the tensors'
places and the names of the storages, followed by the storages' raw numbers. The pickles are only disassembled
here; of all that a pickle could call, a dictionary and a tensor are understood and anything else is refused.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DICTIONARY = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_STORAGES = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}
_PICKLES = 5
"""Magic number, version, machine, tensors, names of the storages."""

_MARK = object()
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "GLOBAL"}


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Read a weights file.

    Args:
        path: file that ``torch.save`` of a version before 1.6 made of a state dictionary

    Returns:
        the tensors by name

    Raises:
        ValueError: if the file is damaged or holds anything but tensors
    """
    file = BytesIO(path.read_bytes())
    try:
        *_, tensors, keys = [_disassemble(file) for _ in range(_PICKLES)]
        dtypes = {tensor["storage"]: tensor["dtype"] for tensor in tensors.values()}
        storages = {}
        for key in keys:
            count = int.from_bytes(file.read(8), "little")
            storages[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key], count)
        return {name: _view(tensor, storages[tensor["storage"]]) for name, tensor in tensors.items()}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"'{path}' is not a file of weights that can be read ({error})") from error


def _view(tensor: dict[str, Any], storage: NDArray[Any]) -> NDArray[Any]:
    shape, strides = tensor["shape"], tensor["strides"]
    if min((tensor["offset"], *shape, *strides)) < 0:
        raise ValueError("a tensor reaches before its storage")
    last = tensor["offset"] + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= len(storage):
        raise ValueError("a tensor reaches beyond its storage")
    steps = [step * storage.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(storage[tensor["offset"] :], shape, steps, writeable=False)


def _disassemble(file: BytesIO) -> Any:
    """Rebuilds one pickled value from the opcodes that weights are made of."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name == "STOP":
            return stack.pop()
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _STEPS:
            _STEPS[name](stack)
        elif name != "PROTO":
            raise ValueError(f"it holds the opcode {name}")
    raise ValueError("it ends too early")


def _since_mark(stack: list[Any]) -> list[Any]:
    start = max(i for i, item in enumerate(stack) if item is _MARK)
    items = stack[start + 1 :]
    del stack[start:]
    return items


def _last(stack: list[Any], count: int) -> tuple[Any, ...]:
    items = tuple(stack[-count:])
    del stack[-count:]
    return items


def _set_items(stack: list[Any]) -> None:
    items = _since_mark(stack)
    stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _set_item(stack: list[Any]) -> None:
    key, value = _last(stack, 2)
    stack[-1][key] = value


def _append_items(stack: list[Any]) -> None:
    items = _since_mark(stack)
    stack[-1].extend(items)


def _refer(stack: list[Any]) -> None:
    _, kind, key, *_ = stack.pop()
    stack.append({"storage": key, "dtype": _STORAGES[kind]})


def _call(stack: list[Any]) -> None:
    function, arguments = _last(stack, 2)
    if function == _DICTIONARY:
        stack.append({})
    elif function == _TENSOR:
        storage, offset, shape, strides, *_ = arguments
        stack.append({**storage, "offset": offset, "shape": shape, "strides": strides})
    else:
        raise ValueError(f"it wants to call {function}")


_STEPS: dict[str, Callable[[list[Any]], object]] = {
    "MARK": lambda stack: stack.append(_MARK),
    "TUPLE": lambda stack: stack.append(tuple(_since_mark(stack))),
    "TUPLE1": lambda stack: stack.append(_last(stack, 1)),
    "TUPLE2": lambda stack: stack.append(_last(stack, 2)),
    "TUPLE3": lambda stack: stack.append(_last(stack, 3)),
    "EMPTY_DICT": lambda stack: stack.append({}),
    "EMPTY_LIST": lambda stack: stack.append([]),
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "APPEND": lambda stack: stack[-2].append(stack.pop()),
    "APPENDS": _append_items,
    "BINPERSID": _refer,
    "REDUCE": _call,
    "BUILD": lambda stack: stack.pop(),  # attributes of a dictionary, such as versions of modules
}
