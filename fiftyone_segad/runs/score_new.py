"""``score_new``: score images that come later against what a run or a bank file compares with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.media as fom
from fiftyone.core.collections import SampleCollection as Samples

from ..embedders.base import Embedder
from ..engine.calibration import Calibration, normal_scores
from ..engine.job import CUSTOM_SEGMENTS, Job, JobContext, JobImage, JobSpec
from ..engine.methods import check_any_scored, score_against_run
from ..engine.zones import ZonesOf, add_zones, common_zones, on_images_of_the_same_size, set_zones
from ..registry.colours import owns_color_scheme
from ..registry.exclusive import holds_run_lock
from ..registry.keys import check_key, list_runs
from ..registry.run import Run, load_run
from ..registry.samples import all_slices, check_collection, check_numbers, samples_of_slice
from ..registry.separation import separate_run
from ..registry.views import ViewRuns
from ..scoring.conformal import NormalScores
from ..segments.boxes import Proposer
from ..storage.bank_file import BANK_SETTING, BankFile
from ..storage.bank_images import bank_copies
from ..storage.store import RunStore
from ..utils.copies import find_copies
from ..utils.threads import usable_cores
from ..utils.timing import StageTimer
from .each_slice import SliceCalls, works_on_each_slice
from .families import assign_families
from .features import load_embedder, named_segments
from .inspection import zones_of_new
from .lifecycle import commit, find_or_create_store, log_stages, progress_bar
from .parts import decide_again
from .request import copies_warnings, image_states, job_images

logger = logging.getLogger(__name__)


def _plan_slices(views: ViewRuns, call: dict[str, Any]) -> SliceCalls:
    """Give each slice its own images.

    Raises:
        ValueError: if there are none, or a bank is given, which is of one slice
    """
    samples = call["samples"]
    if call["bank"] is not None:
        raise ValueError(
            f"key='{views.key}' stands for the runs of the slices {list(views.runs)}, and a bank is of one slice: "
            "leave bank=... out, or use another key=... and the samples of one slice"
        )
    if samples.media_type != fom.GROUP:
        check_collection(samples, "samples")
    slices = {name: samples_of_slice(samples, name) for name in views.runs}
    calls = {name: {**call, "samples": of_slice} for name, of_slice in slices.items() if len(of_slice)}
    if not calls:
        raise ValueError(f"samples has no images of the slices {list(views.runs)}, which '{views.key}' stands for")
    return calls


def _with_notes(views: ViewRuns, results: Mapping[str, Run]) -> ViewRuns:
    idle = [name for name in views.runs if name not in results]
    notes = [f"Slice '{name}' has no samples here and was left out" for name in idle]
    return replace(views, notes=[*views.notes, *notes])


@works_on_each_slice(_plan_slices, _with_notes)
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
    """Score the images of a collection that a run has not scored, without fitting anything anew.

    They are compared with what the run compared its images with, and get the scores that it would have given them;
    thresholds and the range of the heatmaps stay. Only the fields of these samples are written. What was skipped before
    is tried again. With ``method="unlabeled"`` they are compared with the images that the run was made of, which do not
    learn of them: for a new product or view compute a new run.

    Args:
        samples: any collection of the run's dataset; what has a score already is passed over
        key ("segad"): the run's key, or that of the runs of all slices of a grouped dataset: each is scored against
            its own
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
        the ``Run``, its ``scored`` and ``skipped`` brought up to date; for the key of all slices ``ViewRuns`` with that
        of each

    Raises:
        ValueError: if a parameter is wrong, or there is no such run, before any work
        FileNotFoundError: if there is no such bank
        BankError: if the bank is damaged, was altered, is of another version, or does not fit the embedder
        RunError: if the run's files are gone, or the embedder gives other features than it did
        MissingDependencyError: if the embedder is not installed
        SegadError: if a new run could score no image at all

    Examples:
        >>> dataset.add_images(["/photos/later.png"])  # doctest: +SKIP
        >>> run = segad.score_new(dataset)  # doctest: +SKIP
        >>> elsewhere = segad.score_new(other_dataset, "line2", bank="bank.safetensors")  # doctest: +SKIP
    """
    dataset = check_collection(samples, "samples")
    check_numbers(num_workers, batch_size=batch_size)
    if bank is None and (embedder is not None or embedder_kwargs is not None):
        raise ValueError("embedder and embedder_kwargs are those of a bank; a run has its own. Leave them out")
    bank_file = None if bank is None else BankFile.read(Path(bank).expanduser())
    run = load_run(dataset, key) if bank_file is None else begin_run(dataset, key, bank_file, embedder, embedder_kwargs)
    is_new = not run.folder
    images = job_images(samples, named_segments(run, dataset, segments))
    images = images if is_new else _without_score(dataset, run, images)
    if not images:
        logger.info("Run '%s' has scored all of these images already", key)
        return run
    drawings: ZonesOf | None = zones_of_new(samples, run)
    with load_embedder(run, batch_size) as model:
        if bank_file is not None and is_new:
            run = _unpack(dataset, run, bank_file, model)
        else:
            run = separate_run(dataset, run)
        job = _job(run, model, images, segments, num_workers)
        job.report.warnings.extend(copies_warnings(job.spec))
        with progress_bar(job, len(images), progress) as job, run.store.explain_write_errors():
            run.store.forget_changed(image_states(images))
            score_against_run(job)
            if is_new:
                check_any_scored(job)
            drawings = _zones_of_bank(run) if drawings is None else drawings
            if drawings is not None:
                add_zones(RunStore(run.folder), drawings, job.spec.ids)
            run = commit(dataset, run, job, calibration_of(run, job.spec.ids))
    assign_families(dataset, run)
    decide_again(dataset, key)
    return run


def begin_run(
    dataset: fo.Dataset, key: str, bank: BankFile, embedder: str | None, embedder_kwargs: Mapping[str, Any] | None
) -> Run:
    """Load the run of a key that was made with a bank, or begin one, which has no folder yet.

    Args:
        dataset: the dataset
        key: the run's key
        bank: the bank
        embedder: as in ``score_new``
        embedder_kwargs: as in ``score_new``

    Raises:
        ValueError: if the embedder is not the bank's or must be named, or the key belongs to something else
    """
    bank.check_trust(embedder)
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
        embedder=bank.header.embedder,
        settings=settings,
        thresholds=bank.header.thresholds,
        map_range=bank.header.map_range,
        folder="",
        masks="",
        scored=0,
        normals=len(bank.header.images),
        owns_color_scheme=owns_color_scheme(dataset),
    )


def _unpack(dataset: fo.Dataset, run: Run, bank: BankFile, model: Embedder) -> Run:
    """Unpack a bank into the store of a new run.

    Raises:
        BankError: if the embedder gives other features than the bank holds
    """
    bank.check_levels(model.levels if run.settings["segments"] is None else CUSTOM_SEGMENTS)
    store = find_or_create_store(dataset, run.key, run.settings, resume=True)
    with store.explain_write_errors():
        bank.unpack(store)
        if bank.zones is not None:
            set_zones(store, on_images_of_the_same_size(bank.zones), run.method)
    return replace(run, folder=str(store.folder))


def _zones_of_bank(run: Run) -> ZonesOf | None:
    """Return the zones of further images of a run that was made with a bank; None if it holds none."""
    zones = common_zones(RunStore(run.folder)) if BANK_SETTING in run.settings else None
    return None if zones is None else on_images_of_the_same_size(zones)


def _without_score(dataset: fo.Dataset, run: Run, images: list[JobImage]) -> list[JobImage]:
    if not dataset.has_sample_field(run.field("score")):
        raise ValueError(f"The field '{run.field('score')}' is gone; compute run '{run.key}' again")
    scored = set(all_slices(dataset).exists(run.field("score")).values("id"))
    return [image for image in images if image.id not in scored]


def _job(run: Run, model: Embedder, images: list[JobImage], segments: Proposer | None, num_workers: int | None) -> Job:
    """Return a job for further images of a run."""
    paths = [image.path for image in images]
    spec = JobSpec(
        images,
        [],
        run.method,
        segments or run.settings["segments"],
        bank_size=run.settings["bank_size"],
        seed=run.settings["seed"],
        bank_names=find_copies(paths, run.store.bank.paths()) | bank_copies(run.store, paths),
        scale=run.grey_scale,
        clean=run.settings.get("clean", False),
    )
    workers, timer = num_workers or usable_cores(), StageTimer(dict(run.seconds))
    return Job(spec, JobContext(model, RunStore(run.folder), workers, on_stage=log_stages(run.key), timer=timer))


def calibration_of(run: Run, new: set[str]) -> Calibration:
    """Return the calibration that a run has; where no normals are known, p-values are relative to its other images."""
    compared = normal_scores(run.store)
    share = compared.false_alarm_share(run.thresholds.image) if len(compared) else None
    if not len(compared):
        compared = NormalScores.of([record.image_score for record in run.store.scores if record.id not in new])
    return Calibration(run.thresholds, compared, run.map_range, share, [])
