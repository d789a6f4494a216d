"""Begin and end a run: find or make its store, show how far its job is, and write what it found to the dataset."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou

from ..engine.calibration import Calibration
from ..engine.drift import find_drift
from ..engine.job import Job
from ..errors import RunError
from ..registry.fields import add_fields, write_fields
from ..registry.folders import check_links, current_folders, in_use, runs_folder, stores
from ..registry.retry import retry_on_reconnect
from ..registry.run import Run, save_run
from ..registry.samples import all_slices
from ..scoring.drift import Drift
from ..storage.store import RunStore
from ..utils.grey_scale import FULL_RANGE

logger = logging.getLogger(__name__)


def find_or_create_store(dataset: fo.Dataset, key: str, settings: dict[str, Any], resume: bool) -> RunStore:
    """Find the store of an interrupted run with the same settings, or make a new one.

    Raises:
        OSError: if it cannot be written
    """
    for interrupted in stores(dataset, key):
        if in_use(interrupted.folder):
            continue
        if resume and interrupted.settings() == settings and _is_readable(interrupted):
            logger.info("Going on with the interrupted run in '%s'", interrupted.folder)
            return interrupted
        interrupted.delete()
    return RunStore.create(runs_folder(dataset, key) / uuid.uuid4().hex[:12], settings)


def _is_readable(store: RunStore) -> bool:
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


def scored_ids(dataset: fo.Dataset, run: Run) -> set[str]:
    """Return the ids of the samples of a dataset that a run has scored.

    Raises:
        ValueError: if the dataset has none of them any more
    """
    ids = run.store.scores.ids() & set(all_slices(dataset).values("id"))
    if not ids:
        raise ValueError(
            f"Dataset '{dataset.name}' has none of the samples any more that run '{run.key}' scored; score others with "
            "score_new(), or remove the run with delete_run()"
        )
    return ids


def log_stages(key: str) -> Callable[[str], None]:
    """Return a function that logs what a run is doing."""
    return lambda text: logger.info("%s: %s ...", key, text)


@contextmanager
def progress_bar(job: Job, steps: int, progress: bool | Callable[[Any], None] | None) -> Iterator[Job]:
    """Show a bar while a job runs and its fields are written; yields the job that moves it.

    Its attribute ``stage`` says what is being done, for who shows it otherwise.

    Args:
        job: the job
        steps: sum of the counts that its ``on_progress`` is called with
        progress: whether to show the bar, or a function that gets it, as in FiftyOne
    """
    total = steps + len(job.spec.images)  # each image is scored, and then written
    with fou.ProgressBar(total=total, progress=progress, iters_str="images") as bar:
        yield job.with_progress(bar.update, lambda text: setattr(bar, "stage", text))


def commit(dataset: fo.Dataset, run: Run, job: Job, calibration: Calibration) -> Run:
    """Write what a finished job found to the dataset's fields, and register the run.

    Where the job scored into the store of the run that is registered under the key, the fields of its other images
    stay. Else the run takes the place of that one, in a single step.

    Args:
        dataset: the dataset
        run: the run but for what the job found
        job: the job
        calibration: the thresholds, and the scores that p-values are relative to

    Returns:
        the run as it is registered
    """
    folder, replaced = str(job.store.folder), current_folders(dataset, run.key)
    extends = folder in replaced
    tried, report = job.spec.ids, job.report
    scored = job.store.scores.ids() & (set(all_slices(dataset).values("id")) if extends else tried)
    scale_notes = [] if job.spec.scale == FULL_RANGE else [str(job.spec.scale)]
    run = replace(
        run,
        thresholds=calibration.thresholds,
        false_alarm_share=calibration.false_alarm_share,
        map_range=calibration.map_range,
        folder=folder,
        masks=run.masks if extends else new_masks_name(),
        scored=len(scored),
        skipped=[entry for entry in run.skipped if entry["id"] not in tried] + report.skipped,
        warnings=list(dict.fromkeys(run.warnings + scale_notes + report.warnings + calibration.warnings)),
    )
    if not extends:
        run.parts = _count_parts(run)
    run = _with_drift(run, find_drift(job))
    records = run.store.scores_of(tried)
    job.stage("writing the fields")
    with job.timer("write"):
        if extends:
            add_fields(dataset, run, records, calibration.compared, job.advance)
        else:
            write_fields(dataset, run, records, calibration.compared, advance=job.advance, obsolete=replaced)
    run = replace(run, seconds=dict(report.seconds))  # with those of writing
    retry_on_reconnect(save_run)(dataset, run)
    if extends:
        _tag_skipped(dataset, run, tried)
    dataset.reload()
    logger.info("%s", run)
    return run


def _with_drift(run: Run, drift: Drift | None) -> Run:
    """Return the run with the drift of the images that were scored last, and the warning of it."""
    others = [text for text in run.warnings if text != str(run.drift)]
    return replace(run, drift=drift, warnings=others + ([str(drift)] if drift else []))


def _count_parts(run: Run) -> int:
    """Count the parts that a run's normal images show; 0 if each shows another one."""
    groups = run.groups
    return run.normals - sum(map(len, groups)) + len(groups) if groups else 0


def new_masks_name() -> str:
    """Name a folder of masks, a new one each time: browsers keep the masks of a path that they have seen."""
    return f"masks-{uuid.uuid4().hex[:8]}"


def _tag_skipped(dataset: fo.Dataset, run: Run, tried: set[str]) -> None:
    """Tag those of the samples that were tried which the run could not score, and no others of them."""
    skipped = [entry["id"] for entry in run.skipped if entry["id"] in tried]
    samples = all_slices(dataset)
    samples.select(list(tried)).match_tags(run.skipped_tag).untag_samples(run.skipped_tag)
    samples.select(skipped).tag_samples(run.skipped_tag)
