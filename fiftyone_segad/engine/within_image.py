"""Score by ``within_image``: each segment against the others of its image, as fastdup ranks them."""

from __future__ import annotations

import numpy as np

from ..scoring.fastdup_rule import find_outliers, segment_scores
from ..storage.records import ImageScores
from .job import Embedded, ImageTask, Job
from .passes import flushing
from .prediction import image_scores


def score_within_image(job: Job) -> None:
    """Score the normal images and the images that have no score yet, each by itself."""
    for images, scores in ((job.spec.normals, job.store.normals), (job.spec.images, job.store.scores)):
        done = scores.ids()
        missing = [image for image in images if image.id not in done]
        job.advance(len(images) - len(missing))
        with flushing(scores):
            for record in job.map(_WithinTask(job.reader()), missing):
                scores.add(record)


class _WithinTask(ImageTask[ImageScores]):
    """Scores an image by itself."""

    def work(self, embedded: Embedded) -> ImageScores:
        (level,) = embedded.patches
        with self.timer("search"):
            scores = segment_scores(level.features)  # [n]
            outliers = np.isin(np.arange(len(scores)), find_outliers(level.features).indices)  # [n]
        return image_scores(embedded.image.id, (level.segments, scores), self.timer, outliers)
