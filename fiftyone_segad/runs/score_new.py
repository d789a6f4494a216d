"""``score_new`` and ``save_bank``: images that come later, against what a run or a bank file compares with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples

from ..embedders.base import Embedder
from ..embedders.torch_loading import is_torch_name
from ..engine.bank import bank_rows
from ..engine.calibration import Calibration, records_of
from ..engine.job import CUSTOM_SEGMENTS, Job, JobContext, JobImage, JobReport, JobSpec
from ..engine.methods import check_any_scored, score_against_run
from ..registry.exclusive import holds_run_lock
from ..registry.fields import add_fields
from ..registry.run import Run, check_key, list_runs, load_run, owns_color_scheme, save_run
from ..registry.samples import check_collection, check_numbers, job_images, named_segments
from ..segments.boxes import Proposer
from ..storage.bank_file import BANK_SETTING, BankFile
from ..storage.bank_images import bank_copies
from ..utils.threads import usable_cores
from ..utils.timing import StageTimer
from .features import load_embedder
from .lifecycle import masks_name, open_store, put_in_place

logger = logging.getLogger(__name__)


@holds_run_lock
def score_new(
    samples: Samples,
    key: str = "segad",
    bank: str | Path | None = None,
    segments: Proposer | None = None,
    embedder: str | None = None,
    embedder_kwargs: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    progress: bool | Callable[[Any], None] | None = None,
) -> Run:
    """Scores the images of a collection that a run has not scored, without fitting anything anew.

    They are compared with what the run compared its images with, and get the scores that it would have given them;
    thresholds and the range of the heatmaps stay. Only the fields of these samples are written. What was skipped before
    is tried again. With ``method="unlabeled"`` they are compared with the images that the run was made of, which do not
    learn of them: for a new product or view compute a new run.

    Args:
        samples: any collection of the run's dataset; what has a score already is passed over
        key ("segad"): the run's key
        bank (None): a file of ``save_bank``, from this or another machine. Then ``key`` names a run that is made
            with it, on any dataset; or one that was, to score further images
        segments (None): the function of the run's segments, if they came from a function; a run only keeps its name
        embedder (None): for a bank of a network (``timm:``, ``torchhub:``, ``zoo:``) its name, to say that you trust
            it: such a name can stand for code from anywhere
        embedder_kwargs (None): further arguments of the embedder in place of those in the bank, if for instance the
            file of its weights lies elsewhere
        batch_size (None): segments that go through the model at once
        num_workers (None): threads that decode images
        progress (None): whether to show a progress bar, or a function that gets it

    Returns:
        the run, its ``scored`` and ``skipped`` brought up to date

    Raises:
        ValueError: if a parameter is wrong, or there is no such run, before any work
        FileNotFoundError: if there is no such bank
        BankError: if the bank is damaged, was altered, is of a newer version, or does not fit the embedder
        RunError: if the run's files are gone, or the embedder gives other features than it did
        MissingDependencyError: if the embedder is not installed
        SegadError: if a new run could score no image at all
    """
    dataset = check_collection(samples, "samples")
    check_numbers(num_workers)
    opened = None if bank is None else BankFile.read(Path(bank).expanduser())
    if opened is None and (embedder is not None or embedder_kwargs is not None):
        raise ValueError("embedder and embedder_kwargs are those of a bank; a run has its own. Leave them out")
    run = load_run(dataset, key) if opened is None else _run_with(dataset, key, opened, embedder, embedder_kwargs)
    registered = run.key in list_runs(dataset)
    images = job_images(samples, named_segments(run, dataset, segments))
    if registered:
        images = _without_score(dataset, run, images)
    if not images:
        logger.info("Run '%s' has scored all of these images already", key)
        return run
    with load_embedder(run, batch_size) as model:
        if opened is not None and not registered:
            opened.check_levels(model.levels if run.settings["segments"] is None else CUSTOM_SEGMENTS)
            run = replace(run, folder=str(open_store(dataset, key, run.settings, resume=True).folder))
            with run.store.explain_write_errors():
                opened.unpack(run.store)
        job = _job(run, model, images, segments, num_workers)
        bar = fou.ProgressBar(total=2 * len(images), progress=progress, iters_str="images")
        job = job.with_progress(bar.update)
        with bar, run.store.explain_write_errors():
            new = {image.id for image in images}
            report = score_against_run(job)
            if not registered:
                check_any_scored(job)
            run = _updated(run, job, report, set(dataset.values("id")) if registered else new)
            calibration = _calibration(run, new)
            if registered:
                add_fields(dataset, run, records_of(run.store, new), calibration.scores, bar.update)
                _register(dataset, run, new)
            else:
                put_in_place(dataset, run, calibration, new, bar.update)
    logger.info("%s", run)
    return run


def save_bank(samples: Samples, key: str, path: str | Path, overwrite: bool = False) -> Path:
    """Save what a run compares images with as one file, for ``score_new`` on any machine and dataset.

    It holds the features of the normal images and of what reviews marked as normal, what was fitted to them, the
    thresholds with the scores that they rest on, and which embedder is needed. Of the normal images it has their names
    and checksums, no folders and no pixels.
    It is a file in the safetensors format.

    Args:
        samples: the dataset, or a view of it
        key: the run's key
        path: the file; by custom its name ends with ``.safetensors``
        overwrite (False): whether an existing file is replaced

    Returns:
        the file

    Raises:
        ValueError: if there is no such run, it compares with no normal images, or the file exists
        RunError: if the run's files are gone, or the embedder gives other features than it did
        MissingDependencyError: if the embedder is not installed
        OSError: if the file cannot be written
    """
    run = load_run(samples, key)
    if run.method != "reference":
        raise ValueError(f"Run '{key}' has no bank of normal images: its method is '{run.method}', not 'reference'")
    file = Path(path).expanduser().absolute()
    if file.is_dir():
        raise ValueError(f"path='{file}' is a folder; name a file in it, e.g. '{file / key}.safetensors'")
    if file.exists() and not overwrite:
        raise ValueError(f"path='{file}' exists; pass overwrite=True to replace it")
    with load_embedder(run) as model:
        job = _job(run, model)
        levels = job.levels()
        rows = list(bank_rows(job, levels, run.store.bank))
    bank = BankFile.of(
        run.store,
        levels,
        rows,
        embedder=run.embedder,
        settings=run.settings,
        thresholds=run.thresholds,
        map_range=run.map_range,
    )
    bank.write(file)
    return file


def _run_with(
    dataset: fo.Dataset, key: str, bank: BankFile, embedder: str | None, embedder_kwargs: Mapping[str, Any] | None
) -> Run:
    """The run of a key that was made with a bank, or one that is yet to be made and has no folder."""
    needed = bank.header.embedder
    if embedder is None and any(is_torch_name(part) for part in needed.split("+")):
        raise ValueError(
            f"The bank needs '{needed}', which can be code from anywhere; pass embedder='{needed}' if you trust it"
        )
    if embedder not in (None, needed):
        raise ValueError(f"embedder={embedder!r} is not that of the bank, which needs '{needed}'")
    settings = {**bank.header.settings, BANK_SETTING: bank.checksum}
    if embedder_kwargs is not None:
        settings["embedder_kwargs"] = dict(embedder_kwargs)
    if key in list_runs(dataset):
        run = load_run(dataset, key)
        if run.settings.get(BANK_SETTING) != bank.checksum:
            raise ValueError(
                f"Run '{key}' exists and was not made with this bank; use another key=..., or leave bank=... out"
            )
        return replace(run, settings=settings)
    check_key(dataset, key, overwrite=False)
    return Run(
        key=key,
        method="reference",
        embedder=needed,
        settings=settings,
        thresholds=bank.header.thresholds,
        map_range=bank.header.map_range,
        folder="",
        masks=masks_name(),
        scored=0,
        normals=len(bank.header.images),
        owns_color_scheme=owns_color_scheme(dataset),
    )


def _without_score(dataset: fo.Dataset, run: Run, images: list[JobImage]) -> list[JobImage]:
    if not dataset.has_sample_field(run.field("score")):
        raise ValueError(f"The field '{run.field('score')}' is gone; compute run '{run.key}' again")
    scored = set(dataset.exists(run.field("score")).values("id"))
    return [image for image in images if image.id not in scored]


def _job(
    run: Run,
    model: Embedder,
    images: list[JobImage] | None = None,
    segments: Proposer | None = None,
    workers: int | None = None,
) -> Job:
    """A job for further images of a run."""
    spec = JobSpec(
        images or [],
        [],
        run.method,
        segments or run.settings["segments"],
        bank_size=run.settings["bank_size"],
        seed=run.settings["seed"],
        bank_names=bank_copies(run.store, (image.path for image in images or [])),
    )
    context = JobContext(
        model,
        run.store,
        workers or usable_cores(),
        on_stage=lambda text: logger.info("%s: %s ...", run.key, text),
        timer=StageTimer(dict(run.seconds)),
    )
    return Job(spec, context)


def _updated(run: Run, job: Job, report: JobReport, present: set[str]) -> Run:
    tried = {image.id for image in job.spec.images}
    return replace(
        run,
        scored=len(run.store.scores.ids() & present),
        skipped=[entry for entry in run.skipped if entry["id"] not in tried] + report.skipped,
        seconds=report.seconds,
    )


def _calibration(run: Run, new: set[str]) -> Calibration:
    """The run's calibration; where no normals are known, p-values are relative to its other images."""
    scores = [record.image_score for record in run.store.normals]
    scores = scores or [record.image_score for record in run.store.scores if record.id not in new]
    return Calibration(run.thresholds, np.array(scores, np.float64), run.map_range, [])


def _register(dataset: fo.Dataset, run: Run, tried: set[str]) -> None:
    save_run(dataset, run)
    dataset.select(list(tried)).match_tags(run.skipped_tag).untag_samples(run.skipped_tag)
    dataset.select([entry["id"] for entry in run.skipped if entry["id"] in tried]).tag_samples(run.skipped_tag)
    dataset.reload()
