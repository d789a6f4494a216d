"""Lock a run, so that one process at a time writes it.

A lock is the operating system's lock of a file (flock, or what Windows has), which ends with the process that holds it:
none is ever left behind by a process that died. Processes on other machines see it if they share the folder.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

import fiftyone as fo

from ..errors import RunBusyError
from ..storage.store import explain_write_errors
from .folders import dataset_folder

logger = logging.getLogger(__name__)


@contextmanager
def run_lock(dataset: fo.Dataset, key: str) -> Iterator[None]:
    """Hold the lock of a run or an evaluation.

    Raises:
        RunBusyError: at once, if another holds it; the message says which process
        OSError: if the folder of the dataset's runs cannot be written
    """
    import filelock  # here, so that the package imports in no time

    folder = dataset_folder(dataset)
    file = folder / f"{key}.lock"
    lock = filelock.FileLock(file, timeout=0)
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        before = _holder(file)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise RunBusyError(
                f"'{key}' of dataset '{dataset.name}' is being written by {before or 'another process'}; wait for "
                "it, cancel it, or use another key=..."
            ) from None
        if before:
            logger.info("Run '%s' was left by %s, which ended without finishing it", key, before)
    try:
        with explain_write_errors(folder):
            _sign(file)
        yield
    finally:
        with suppress(OSError):  # Windows lets no open file go; what stays is empty, and nobody's
            file.unlink()
        lock.release()
        with suppress(OSError):
            folder.rmdir()


def _sign(file: Path) -> None:
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    file.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}))


def _holder(file: Path) -> str:
    """Describe the process that signed a lock; empty if that cannot be read."""
    try:
        signed = json.loads(file.read_text())
        return f"process {int(signed['pid'])} on {signed['host']!s} since {signed['since']!s}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
