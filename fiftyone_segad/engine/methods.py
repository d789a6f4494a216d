"""Run a job by its method. Each method is a file: ``reference.py``, ``unlabeled.py`` and ``within_image.py``."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ..errors import SegadError
from ..scoring.mutual import POOL
from ..utils.images import has_more_frames
from ..utils.text import pluralize
from .job import Job
from .passes import calibration_images
from .reference import score_against_bank, score_by_reference
from .report import JobReport
from .unlabeled import score_against_pool, score_unlabeled
from .within_image import score_within_image

_METHODS: dict[str, Callable[[Job], None]] = {
    "reference": score_by_reference,
    "unlabeled": score_unlabeled,
    "within_image": score_within_image,
}

_METHODS_OF_A_FINISHED_RUN: dict[str, Callable[[Job], None]] = {
    "reference": score_against_bank,
    "unlabeled": score_against_pool,
    "within_image": score_within_image,
}


def steps(job: Job) -> int:
    """Return the sum of the counts that a job's ``on_progress`` is called with, if every image can be used."""
    images, normals = len(job.spec.images), len(job.spec.normals)
    if job.spec.method == "within_image":
        return normals + images
    if job.spec.method == "unlabeled":
        return 2 * min(len(job.spec.paths), POOL) + images
    held_out = len(calibration_images(job, job.levels())) if normals > 1 else 0
    return normals + held_out + images


def run_job(job: Job) -> JobReport:
    """Do all of a job that is left to do.

    Raises:
        SegadError: if none of the normal images, or none of the images, can be used
    """
    _METHODS[job.spec.method](job)
    check_any_scored(job)
    return _finish(job)


def score_against_run(job: Job) -> JobReport:
    """Score images against the store of a finished run; nothing is fitted, and nothing joins the bank.

    An image gets the score that the run would have given it. For ``unlabeled`` that is so of the images that the run
    did not choose for its pool.

    Raises:
        SegadError: if the store has nothing to compare with
    """
    if job.spec.method != "within_image" and not job.store.bank.paths():
        raise SegadError(f"'{job.store.folder}' has no features to compare with; compute the run again")
    _METHODS_OF_A_FINISHED_RUN[job.spec.method](job)
    return _finish(job)


def check_any_scored(job: Job) -> None:
    """Check that a job has not skipped all of its images.

    Raises:
        SegadError: if it has
    """
    if not job.store.scores.ids() & job.spec.ids:
        raise SegadError(f"None of the {len(job.spec.images)} images could be scored. {job.report.first_reason()}")


def _finish(job: Job) -> JobReport:
    job.report.warnings += _frames_warning(job)
    job.report.seconds = job.timer.seconds
    return job.report


def _frames_warning(job: Job) -> list[str]:
    """Warn of images of which only a part was read."""
    paths = sorted({image.path for image in (*job.spec.images, *job.spec.normals)})
    with ThreadPoolExecutor(job.context.workers) as threads:
        cut = [path for path, more in zip(paths, threads.map(has_more_frames, paths), strict=True) if more]
    if not cut:
        return []
    have = pluralize(len(cut), "image has", "images have")
    return [f"{have} more than one page or frame, of which only the first was read; the first is '{cut[0]}'"]
