"""Know the images that a bank file was made of by their content, wherever they lie."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..utils.arrays import as_run_error
from ..utils.files import read_json, write_json
from .store import RunStore

_CHUNK = 2**20
_COPIES = "copies.json"


@dataclass(frozen=True)
class FileState:
    """A file by its content.

    Attributes:
        name: its name without folders, unlike that of any other of the bank
        size: bytes, -1 if it could not be read
        sha256: checksum of its content, empty if it could not be read
    """

    name: str
    size: int
    sha256: str


def file_state(path: str | Path, name: str) -> FileState:
    """Read size and checksum of a file.

    Examples:
        >>> file_state("absent.png", "a.png")
        FileState(name='a.png', size=-1, sha256='')
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as source:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
            return FileState(name, source.tell(), digest.hexdigest())
    except OSError:
        return FileState(name, -1, "")


def save_bank_images(store: RunStore, images: Sequence[FileState]) -> None:
    """Keep in a store which images the bank has that is unpacked into it."""
    write_json(store.folder / _COPIES, {image.sha256: [image.name, image.size] for image in images if image.sha256})


def bank_images(store: RunStore) -> dict[str, FileState]:
    """Read the images of the bank that was unpacked into a store, by name; none if the run has a bank of its own.

    Raises:
        RunError: if the file that names them is damaged
    """
    saved = read_json(store.folder / _COPIES) or {}
    with as_run_error(store.folder / _COPIES):
        return {str(name): FileState(str(name), int(size), sha256) for sha256, (name, size) in saved.items()}


def bank_copies(store: RunStore, paths: Iterable[str]) -> dict[str, str]:
    """Find the files that are images of the bank that was unpacked into a store.

    Returns:
        names in the bank, by path
    """
    by_content = {image.sha256: image for image in bank_images(store).values()}
    sizes = {image.size for image in by_content.values()}
    copies = {}
    for path in set(paths) if by_content else ():
        try:
            state = file_state(path, Path(path).name) if os.path.getsize(path) in sizes else None
        except OSError:
            continue  # it is skipped when it is read
        if state is not None and state.sha256 in by_content:
            copies[path] = by_content[state.sha256].name
    return copies
