"""Write files and folders atomically, and give them safe and unique names."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

_LOCKS = [threading.RLock() for _ in range(64)]
"""Locks of the files that are being written; some files share one."""

_UNSAFE = re.compile(r"[^\w .()+-]")
_LONGEST_NAME = 120


@contextmanager
def atomic_write(file: Path) -> Iterator[Path]:
    """Give the path of a file to write beside another one, whose place it takes at the end of the block.

    After an error the other one is as before, and the new one is gone. Threads that write the same file take turns.

    Examples:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "a.txt"
        >>> with atomic_write(file) as partial:
        ...     _ = partial.write_text("all of it")
        >>> file.read_text()
        'all of it'
    """
    partial = file.with_name(f".{file.name}.partial")
    with _LOCKS[hash(file) % len(_LOCKS)]:
        partial.unlink(missing_ok=True)  # of a process that was killed
        try:
            yield partial
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)  # a full disk needs the space


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """Give a new folder beside another one, whose place it takes at the end of the block.

    After an error the other one is as before, and the new one is gone.
    """
    unique = uuid.uuid4().hex[:8]
    partial, old = (target.with_name(f".{target.name}.{unique}{end}") for end in ("", "-old"))
    partial.mkdir(parents=True)
    try:
        yield partial
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(partial, target)
        except BaseException:
            if old.exists():
                os.replace(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Make a file the same as another one: a second name of it, where the disk can do that.

    Only for files that are replaced and never changed, as all that this module writes.
    """
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_png(file: Path, picture: Image.Image, compress_level: int = 6) -> None:
    """Write a PNG file atomically; a link in its place is replaced, not followed."""
    with atomic_write(file) as partial:
        picture.save(partial, "PNG", compress_level=compress_level)


def write_json(file: Path, value: dict[str, Any]) -> None:
    """Write a JSON file atomically."""
    with atomic_write(file) as partial:
        partial.write_text(json.dumps(value, indent=1))


def read_json(file: Path) -> dict[str, Any] | None:
    """Read a JSON object; None if the file is absent or damaged."""
    try:
        value = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def safe_name(name: str) -> str:
    """Make a name that is no path: other characters than letters, digits and `` _.()+-`` become ``_``.

    Examples:
        >>> safe_name("../cut: 3 mm?")
        '_cut_ 3 mm_'
    """
    return _UNSAFE.sub("_", name).strip(" .")[:_LONGEST_NAME].rstrip(" .") or "_"


class UniqueNames:
    """Names within one folder. Upper and lower case are one, as on many file systems.

    Args:
        taken: names that are not given

    Examples:
        >>> names = UniqueNames()
        >>> [names.take(name) for name in ("cut", "Cut", "hole", "cut")]
        ['cut', 'Cut_2', 'hole', 'cut_3']
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {name.casefold() for name in taken}

    def take(self, name: str) -> str:
        """Return the name, with a number after it if it was given before."""
        unique, number = name, 2
        while unique.casefold() in self._taken:
            unique, number = f"{name}_{number}", number + 1
        self._taken.add(unique.casefold())
        return unique
