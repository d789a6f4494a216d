"""Files of arrays: ``.npz`` without pickled objects, written whole or not at all, read or mapped."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from .whole_files import atomic_write

_LONGEST_HEADER = 2**16  # bytes, of an array in a file


def write_arrays(file: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write a ``.npz`` file that appears whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as partial, open(partial, "wb") as target:
        np.savez(target, **arrays)  # type: ignore[arg-type]


def read_arrays(file: Path, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read a file of ``write_arrays``, or some of its arrays; holds no more than the file does.

    Raises:
        RunError: if it is damaged
    """
    return {name: np.array(array) for name, array in map_arrays(file, names).items()}


def map_arrays(file: Path, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of a file of ``write_arrays`` where they lie on disk, read-only; their checksums are compared.

    Args:
        file: the file
        names (None): the arrays that are wanted, by default all

    Raises:
        RunError: if it is damaged
    """
    with as_run_error(file):
        with zipfile.ZipFile(file) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        content = np.memmap(file, np.uint8, "r")
        return {name: _mapped(content, members[name]) for name in (members if names is None else names)}


def _mapped(content: NDArray[np.uint8], member: zipfile.ZipInfo) -> NDArray[Any]:
    """The array in a member that is not compressed."""
    # The local header ends with a name and an extra field, whose lengths stand at its end
    lengths = content[member.header_offset + 26 : member.header_offset + 30].view("<u2")
    start = member.header_offset + 30 + int(lengths.sum())
    data = content[start : start + member.file_size]
    if (
        member.compress_type != zipfile.ZIP_STORED
        or len(data) != member.file_size
        or zlib.crc32(data.data) != member.CRC
    ):
        raise ValueError(f"the checksum of '{member.filename}' is not that of its content")
    header = io.BytesIO(data[:_LONGEST_HEADER].tobytes())
    if np.lib.format.read_magic(header) != (1, 0):
        raise ValueError(f"'{member.filename}' is of another version of the format")
    shape, by_columns, kind = np.lib.format.read_array_header_1_0(header)
    if kind.hasobject:
        raise ValueError(f"'{member.filename}' holds objects")
    values: NDArray[Any] = data[header.tell() :].view(kind)
    return values.reshape(shape[::-1]).T if by_columns else values.reshape(shape)


@contextmanager
def as_run_error(file: Path) -> Iterator[None]:
    """Says what to do where a file is damaged.

    Raises:
        RunError: with the file and the remedy, for any error in the block
    """
    try:
        yield
    except Exception as error:  # a damaged archive raises many types
        raise RunError(f"'{file}' is damaged ({error}); run again with overwrite=True") from error
