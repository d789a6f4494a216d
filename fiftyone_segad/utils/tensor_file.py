"""Files of named arrays in the safetensors format, sealed by a checksum. Knows nothing of what they mean.

A file is the length of a JSON header (8 bytes), the header, and the arrays one after the other, as in
https://github.com/huggingface/safetensors; any reader of that format can open it. The last array is the SHA-256 of all
bytes before it. Nothing of a file is interpreted before that fits, and no more is allocated than the file holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import BankError
from .whole_files import atomic_write

_TYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "U8": np.dtype("u1"),
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}

_SEAL = "sha256"
_SEAL_BYTES = 32
_LENGTH_BYTES = 8

_LARGEST_HEADER = 64 * 2**20
"""Bytes; the format's own bound is 100 MB."""

_CHUNK = 2**20


def write_tensors(file: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write a file that appears whole or not at all.

    Args:
        file: the file, which is replaced if it exists
        arrays: float16, float32, float64, int64 or uint8 arrays by name
        metadata: texts by name

    Raises:
        OSError: if it cannot be written
    """
    ordered = sorted(arrays, key=lambda name: -arrays[name].itemsize)  # so that each begins at a multiple of its size
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in ordered:
        start, end = end, end + arrays[name].nbytes
        dtype = _NAMES[arrays[name].dtype.newbyteorder("<")]
        header[name] = {"dtype": dtype, "shape": list(arrays[name].shape), "data_offsets": [start, end]}
    header[_SEAL] = {"dtype": "U8", "shape": [_SEAL_BYTES], "data_offsets": [end, end + _SEAL_BYTES]}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % _LENGTH_BYTES)
    with atomic_write(file) as partial, open(partial, "wb") as target:
        digest = hashlib.sha256()
        for part in (len(encoded).to_bytes(_LENGTH_BYTES, "little"), encoded):
            digest.update(part)
            target.write(part)
        for name in ordered:
            values = np.ascontiguousarray(arrays[name], _TYPES[header[name]["dtype"]])
            data = values.reshape(-1).view(np.uint8).data
            digest.update(data)
            target.write(data)
        target.write(digest.digest())


def read_tensors(file: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str], str]:
    """Read a file that ``write_tensors`` wrote.

    Returns:
        the arrays, mapped into memory and not to be changed; the metadata; and the checksum in hexadecimal

    Raises:
        FileNotFoundError: if there is no such file
        BankError: if it is not such a file, is not whole, or was altered
    """
    if not file.is_file():
        raise FileNotFoundError(f"There is no file '{file}'")
    size = file.stat().st_size
    with open(file, "rb") as source:
        length = int.from_bytes(source.read(_LENGTH_BYTES), "little")
        if not 2 <= length <= min(_LARGEST_HEADER, size - _LENGTH_BYTES - _SEAL_BYTES):
            raise BankError(f"'{file}' is not a bank file, or only the beginning of one; copy it again")
        checksum = _checksum(source, size)
        source.seek(_LENGTH_BYTES)
        encoded = source.read(length)
    try:
        header = json.loads(encoded)
        metadata = {str(name): str(value) for name, value in header.pop("__metadata__", {}).items()}
        start = _LENGTH_BYTES + length
        arrays = _mapped(file, start, size - start, header)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise BankError(f"'{file}' is not a bank file: its header cannot be read ({error})") from error
    arrays.pop(_SEAL, None)
    return arrays, metadata, checksum


def _checksum(source: BinaryIO, size: int) -> str:
    """Compare the checksum at the end with the file."""
    source.seek(0)
    digest = hashlib.sha256()
    left = size - _SEAL_BYTES
    while left and (chunk := source.read(min(_CHUNK, left))):
        digest.update(chunk)
        left -= len(chunk)
    if source.read(_SEAL_BYTES) != digest.digest():
        raise BankError(
            f"'{source.name}' is damaged or was altered: its checksum does not fit. Copy it again, or save it again"
        )
    return digest.hexdigest()


def _mapped(file: Path, start: int, size: int, header: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """The arrays of a file, whose places must fill its data without gap or overlap."""
    arrays: dict[str, NDArray[Any]] = {}
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, (first, last) = _TYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        if not all(type(number) is int and number >= 0 for number in (*shape, first, last)):
            raise ValueError(f"'{name}' has a shape or place that is no whole number")
        if first != end or last - first != prod(shape) * dtype.itemsize or last > size:
            raise ValueError(f"'{name}' is not where it should be")
        end = last
        empty = last == first  # which cannot be mapped
        arrays[name] = np.zeros(shape, dtype) if empty else np.memmap(file, dtype, "r", start + first, tuple(shape))
    if end != size:
        raise ValueError("there is more in the file than it says")
    return arrays
