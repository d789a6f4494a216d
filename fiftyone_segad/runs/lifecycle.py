"""Begin and end a run: find or make its store, write its fields, take the place of the run before."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any

import fiftyone as fo

from ..engine.calibration import Calibration, records_of
from ..errors import RunError
from ..registry.fields import write_fields
from ..registry.folders import check_links, runs_folder, stores
from ..registry.run import Run, current_folder
from ..storage.store import RunStore

logger = logging.getLogger(__name__)


def open_store(dataset: fo.Dataset, key: str, settings: dict[str, Any], resume: bool) -> RunStore:
    """Find the folder of an interrupted run with the same settings, or makes a new one.

    Raises:
        OSError: if it cannot be written
    """
    current = current_folder(dataset, key)
    for interrupted in stores(dataset, key):
        if str(interrupted.folder) == current:
            continue
        if resume and interrupted.settings() == settings and _readable(interrupted):
            logger.info("Going on with the interrupted run in '%s'", interrupted.folder)
            return interrupted
        interrupted.delete()
    return RunStore.create(runs_folder(dataset, key) / uuid.uuid4().hex[:12], settings)


def put_in_place(
    dataset: fo.Dataset, run: Run, calibration: Calibration, present: set[str], advance: Callable[[int], None]
) -> None:
    """Write the fields, registers the run, and removes the run that it replaces."""
    old = current_folder(dataset, run.key)
    obsolete = [old] if old not in (None, run.folder) else []
    write_fields(dataset, run, records_of(run.store, present), calibration.scores, advance=advance, obsolete=obsolete)
    dataset.reload()


def masks_name() -> str:
    """A new name each time: browsers keep the masks of a path that they have seen."""
    return f"masks-{uuid.uuid4().hex[:8]}"


def _readable(store: RunStore) -> bool:
    try:
        check_links(store.folder)
        for _ in store.bank:
            pass
        store.levels()
        store.normals.check()
        store.scores.check()
    except RunError as error:
        logger.warning("%s: the interrupted run starts afresh", error)
        return False
    return True
