"""Have other zones decide what counts in a run, from the scores that it keeps: no image is read, no network loaded."""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou

from ..data.truth import GT_FIELD
from ..engine.zones import set_zones, zoned
from ..registry.fields import write_fields
from ..registry.folders import MASKS_NAME, current_folders, in_use, runs_folder
from ..registry.run import Run
from ..scoring.thresholds import ThresholdRule
from ..storage.store import RunStore, explain_write_errors
from ..storage.zones import ZoneField, read_zones, remove_zones
from ..utils.files import link_or_copy
from .inspection import PresentDrawings
from .lifecycle import new_masks_name
from .thresholds import calibrate_run, calibration_warnings

logger = logging.getLogger(__name__)


def rezone(
    dataset: fo.Dataset,
    run: Run,
    source: ZoneField,
    drawings: PresentDrawings,
    rule: ThresholdRule,
    ids: set[str],
    progress: bool | Callable[[Any], None] | None,
) -> Run:
    """Have a run follow its zones as they are drawn now; returns it unchanged if it does already.

    The run moves to a folder of its own, so that the old one is complete until the new one is committed.

    Args:
        dataset: the dataset
        run: the run
        source: where the zones are drawn
        drawings: what is drawn
        rule: the rule of its thresholds
        ids: ids of its samples
        progress: as in ``rescore``
    """
    store = RunStore(runs_folder(dataset, run.key) / uuid.uuid4().hex[:12])
    try:
        with explain_write_errors(store.folder):
            shutil.copytree(run.folder, store.folder, ignore=_pictures, copy_function=link_or_copy)
            remove_zones(store.folder)  # a link to the file of the run that goes
            set_zones(store, drawings, run.method)
        if read_zones(store.folder) == read_zones(Path(run.folder)) and run.zones == source:
            store.delete()
            return run
        gt_field = run.gt_field or GT_FIELD
        areas = run.thresholds.min_area
        calibration = calibrate_run(dataset, zoned(store), run.method, rule, ids, gt_field, areas)
        stale = {*calibration_warnings(dataset, run, ids), *calibration.warnings}
        changed = replace(
            run,
            zones=source,
            thresholds=calibration.thresholds,
            false_alarm_share=calibration.false_alarm_share,
            map_range=calibration.map_range,
            folder=str(store.folder),
            masks=new_masks_name(),
            warnings=[text for text in run.warnings if text not in stale] + calibration.warnings,
        )
        with fou.ProgressBar(total=run.scored, progress=progress, iters_str="images") as bar:
            obsolete = current_folders(dataset, run.key)
            records, compared = changed.store.scores_of(ids), calibration.compared
            write_fields(dataset, changed, records, compared, advance=bar.update, obsolete=obsolete)
    except BaseException:
        if store.exists() and not in_use(store.folder):
            store.delete()
        raise
    dataset.reload()
    logger.info("%s", changed)
    return changed


def _pictures(folder: str, names: Iterable[str]) -> list[str]:
    """Name the folders of a run that are drawn anew."""
    return [name for name in names if name == "maps" or MASKS_NAME.match(name)]
