"""Files and folders that appear complete or not at all, whenever the process or the disk ends."""

from __future__ import annotations

import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

_WRITING = [threading.RLock() for _ in range(64)]
"""Locks of files, of which some share one."""


@contextmanager
def atomic_write(file: Path) -> Iterator[Path]:
    """Give the path of a file to write beside another one, whose place it takes at the end of the block.

    After an error the other one is as before, and the new one is gone. Threads that write the same file take turns.
    """
    partial = file.with_name(f".{file.name}.partial")
    with _WRITING[hash(file) % len(_WRITING)]:
        partial.unlink(missing_ok=True)  # of a process that was killed
        try:
            yield partial
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)  # a full disk needs the room


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


def write_png(file: Path, picture: Image.Image, compress_level: int = 6) -> None:
    """Write a PNG file that appears whole or not at all; a link in its place is replaced, not followed."""
    with atomic_write(file) as partial:
        picture.save(partial, "PNG", compress_level=compress_level)


def write_json(file: Path, value: dict[str, Any]) -> None:
    """Write a JSON file that appears whole or not at all."""
    with atomic_write(file) as partial:
        partial.write_text(json.dumps(value, indent=1))


def read_json(file: Path) -> dict[str, Any] | None:
    """Read a JSON object; None if the file is absent or damaged."""
    try:
        value = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
