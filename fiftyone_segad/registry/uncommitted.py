"""Leave no files of a write that was not committed, whether it was cancelled or its process killed.

Before folders are written, a note beside them names them. A write that fails removes both; the note of a process that
was killed is left for the next writer. Only folders that a note names are ever removed: others may be in use, e.g. by
the run of a clone of the dataset.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..utils.files import read_json, write_json


@contextmanager
def uncommitted(note: Path, folders: Iterable[Path], must_stay: Callable[[Path], bool]) -> Iterator[None]:
    """Note folders that are about to be written, and remove them if the block fails before they are committed.

    Args:
        note: the file of the note
        folders: the folders
        must_stay: tells of a folder whether it is committed by now, or never was this writer's

    Examples:
        >>> from tempfile import mkdtemp
        >>> root = Path(mkdtemp())
        >>> note, masks = root / "run" / "note.json", root / "run" / "masks"
        >>> with suppress(KeyboardInterrupt), uncommitted(note, [masks], must_stay=lambda folder: False):
        ...     masks.mkdir()
        ...     raise KeyboardInterrupt
        >>> list(root.iterdir())
        []
    """
    note.parent.mkdir(parents=True, exist_ok=True)
    write_json(note, {"folders": [str(folder) for folder in folders]})
    try:
        yield
    except BaseException:
        with suppress(Exception):  # the error of the block matters more; the next writer tries again
            remove_uncommitted(note, must_stay)
        raise
    _forget(note)


def remove_uncommitted(note: Path, must_stay: Callable[[Path], bool]) -> None:
    """Remove the folders that a note names, but for committed ones, and the note; does nothing without a note."""
    names = (read_json(note) or {}).get("folders")
    for folder in map(Path, map(str, names if isinstance(names, list) else ())):
        if folder.is_dir() and not folder.is_symlink() and not must_stay(folder):
            shutil.rmtree(folder)
    _forget(note)


def _forget(note: Path) -> None:
    note.unlink(missing_ok=True)
    with suppress(OSError):  # it is not empty
        note.parent.rmdir()
