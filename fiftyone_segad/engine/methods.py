"""The methods: how the images of a job are compared, and with what. Knows nothing of FiftyOne."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import SegadError
from ..scoring.fastdup_rule import find_outliers
from ..scoring.fastdup_rule import segment_scores as within_image_scores
from ..scoring.mutual import POOL
from ..storage.records import ImageScores
from .job import Embedded, ImageTask, Job
from .passes import calibration_images, flushed, score_images
from .prediction import image_scores
from .reference import against_bank, score_by_bank, score_by_reference
from .unlabeled import against_pool, score_unlabeled


def steps(job: Job) -> int:
    """What the numbers that a job's ``advance`` is called with add up to, if every image can be used."""
    if job.method == "within_image":
        return len(job.normals) + len(job.images)
    if job.method == "unlabeled":
        return 2 * min(len({image.path for image in job.images}), POOL) + len(job.images)
    held_out = len(calibration_images(job, job.levels())) if len(job.normals) > 1 else 0
    return len(job.normals) + held_out + len(job.images)


def run_job(job: Job) -> None:
    """Do all of a job that is left to do.

    Raises:
        SegadError: if none of the normal images, or none of the images, can be used
    """
    methods: dict[str, Callable[[Job], None]] = {
        "reference": score_by_reference,
        "unlabeled": score_unlabeled,
        "within_image": _score_within,
    }
    methods[job.method](job)
    if not job.store.scores.ids() & {image.id for image in job.images}:
        raise SegadError(f"None of the {len(job.images)} images could be scored. {job.first_reason()}")


def score_against_run(job: Job) -> None:
    """Scores images against what the store of a finished run holds; nothing is fitted, and nothing joins the bank.

    An image gets the score that the run would have given it. For ``unlabeled`` that is so of the images that the run
    did not choose for its pool.

    Raises:
        SegadError: if the store has nothing to compare with
    """
    levels = job.levels()
    if job.method == "within_image":
        _score_within(job)
    elif not job.store.bank.paths():
        raise SegadError(f"'{job.store.folder}' has no features to compare with; compute the run again")
    elif job.method == "reference":
        score_by_bank(job, levels, *against_bank(job, levels))
    else:
        done = job.store.scores.ids()
        missing = [image for image in job.images if image.id not in done]
        job.advance(len(job.images) - len(missing))
        with flushed(job.store.scores):
            score_images(job, levels, missing, against_pool(job)[0])


def _score_within(job: Job) -> None:
    for images, target in ((job.normals, job.store.normals), (job.images, job.store.scores)):
        done = target.ids()
        missing = [image for image in images if image.id not in done]
        job.advance(len(images) - len(missing))
        with flushed(target):
            for record in job.map(_WithinTask(job.reader), missing):
                target.add(record)


class _WithinTask(ImageTask[ImageScores]):
    """Scores an image by itself."""

    def work(self, embedded: Embedded) -> ImageScores:
        (level,) = embedded.patches
        with self.clock("search"):
            scores = within_image_scores(level.features)
            outliers = np.isin(np.arange(len(scores)), find_outliers(level.features).indices)
        return image_scores(embedded.image.id, (level.segments, scores), self.clock, outliers)
