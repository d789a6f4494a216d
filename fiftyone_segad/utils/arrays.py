"""Write and map files of named arrays and texts: the safetensors format, with checksums.

Any reader of the format can open them. The library checks that a file is all there and that its arrays lie in it
without gap or overlap, and nothing is interpreted before the checksums fit. What is read is mapped into memory, so that
no more is held than is looked at.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import RunError
from .files import atomic_write

_DTYPES = {"F64": "<f8", "I64": "<i8", "F32": "<f4", "F16": "<f2", "U8": "|u1", "BOOL": "|b1"}
"""NumPy's types by the names of the format."""

_TEXTS = "fiftyone_segad"
"""The one entry of the format's own metadata, whose order it leaves open: the same content is always the same file."""


def write_arrays(file: Path, arrays: Mapping[str, NDArray[Any]], texts: Mapping[str, str] | None = None) -> None:
    """Write a file atomically, and the folder that it is in.

    Args:
        file: the file, which is replaced if it exists
        arrays: float16, float32, float64, int64, uint8 or bool arrays by name
        texts (None): texts by name

    Raises:
        OSError: if it cannot be written

    Examples:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "scores.safetensors"
        >>> write_arrays(file, {"scores": np.array([0.5, 2.0])}, {"unit": "sigma"})
        >>> arrays, texts = map_arrays(file)
        >>> arrays["scores"].tolist(), texts
        ([0.5, 2.0], {'unit': 'sigma'})
    """
    dense = {name: np.asarray(array, array.dtype.newbyteorder("<"), order="C") for name, array in arrays.items()}
    content = save(dense, {_TEXTS: _seal(dict(texts or {}), _checksum(dense))})
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as partial:
        partial.write_bytes(content)


def map_arrays(file: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Map the arrays of a file into memory, read-only, and read its texts.

    Raises:
        ValueError: if the file is damaged, altered, or not one of ``write_arrays``
        OSError: if there is no such file, or it cannot be read
    """
    with _opened(file) as source:
        texts, checksum = _unseal(source.metadata())
        kinds = {name: _kind(name, source.get_slice(name)) for name in source.offset_keys()}
    content = np.memmap(file, np.uint8, "r")
    # The arrays fill the file behind its header, one after the other: the library has checked that
    sizes = {name: prod(shape) * dtype.itemsize for name, (dtype, shape) in kinds.items()}
    start = len(content) - sum(sizes.values())
    arrays: dict[str, NDArray[Any]] = {}
    for name, (dtype, shape) in kinds.items():
        arrays[name] = content[start : start + sizes[name]].view(dtype).reshape(shape)
        start += sizes[name]
    if _checksum(arrays) != checksum:
        raise ValueError("the checksum of its arrays is not that of their content")
    return arrays, texts


def read_texts(file: Path) -> dict[str, str]:
    """Read the texts of a file, and none of its arrays.

    Raises:
        ValueError: if they are damaged, or it is not a file of ``write_arrays``
        OSError: if there is no such file, or it cannot be read
    """
    with _opened(file) as source:
        return _unseal(source.metadata())[0]


@contextmanager
def as_run_error(file: Path) -> Iterator[None]:
    """Re-raise any error of the block as one that names a damaged file of a run, and the remedy.

    Raises:
        RunError: for any error
    """
    try:
        yield
    except Exception as error:  # what a damaged file holds can raise any type
        raise RunError(f"'{file}' is damaged ({error}); run again with overwrite=True") from error


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    if not file.is_file():
        raise FileNotFoundError(f"There is no file '{file}'")
    try:
        with safe_open(file, "np") as source:
            yield source
    except SafetensorError as error:
        raise ValueError(f"it is no safetensors file, or not all of one: {error}") from error


def _kind(name: str, place: Any) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return type and shape of an array that was not read yet."""
    if place.get_dtype() not in _DTYPES:
        raise ValueError(f"'{name}' has values of the type {place.get_dtype()}")
    return np.dtype(_DTYPES[place.get_dtype()]), tuple(place.get_shape())


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Sum up names, types, shapes and values of arrays."""
    total = 0
    for name, values in sorted(arrays.items()):
        total = zlib.crc32(f"{name} {values.dtype.str} {values.shape}".encode(), total)
        total = zlib.crc32(values.reshape(-1).view(np.uint8).data, total)
    return f"{total:08x}"


def _seal(texts: dict[str, str], checksum: str) -> str:
    """Pack texts and the checksum of the arrays into one text, which begins with its own checksum."""
    content = json.dumps({"texts": texts, "checksum": checksum})
    return f"{zlib.crc32(content.encode()):08x} {content}"


def _unseal(metadata: dict[str, str] | None) -> tuple[dict[str, str], str]:
    """Unpack what ``_seal`` packed."""
    if metadata is None or _TEXTS not in metadata:
        raise ValueError("it has no checksums: another program has written it, or fiftyone_segad before version 0.2")
    checksum, _, content = metadata[_TEXTS].partition(" ")
    if checksum != f"{zlib.crc32(content.encode()):08x}":
        raise ValueError("the checksum of its texts is not that of their content")
    try:
        sealed = json.loads(content)
        return {str(name): str(text) for name, text in sealed["texts"].items()}, str(sealed["checksum"])
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("its texts cannot be read") from error


def spread_indices(length: int, most: int) -> NDArray[np.int64]:
    """Choose ascending indices that are spread evenly over a sequence; all if there are no more than asked for.

    >>> spread_indices(9, 3).tolist(), spread_indices(2, 3).tolist()
    ([0, 4, 8], [0, 1])
    """
    return np.linspace(0, length - 1, min(most, length)).round().astype(np.int64)
