"""Find out whether the images of a job are as a whole unlike its normal ones, and how they look different."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..scoring.drift import Drift, measure_drift, quartiles
from ..utils.arrays import spread_indices
from ..utils.exposure import measure
from ..utils.images import read_ahead
from .job import Job
from .siblings import part_numbers
from .zones import zoned

_LOOKED_AT = 24
"""Images of each kind that are read again, where there is drift, to say how they look different."""


def find_drift(job: Job) -> Drift | None:
    """Compare the images that a job has scored with normal ones; those that are normal images themselves do not count.

    Returns:
        the drift; None if nothing tells: for another method than ``reference``, or with too few images
    """
    store, spec = zoned(job.store), job.spec
    if spec.method != "reference":
        return None
    in_bank = set(store.bank.paths())
    paths = {image.id: image.path for image in spec.images if spec.bank_path(image) not in in_bank}
    images = [(record.id, quartiles(record.counted_scores)) for record in store.scores_of(paths)]
    normals = [(record.id, quartiles(record.counted_scores)) for record in store.normals]
    drift = measure_drift(
        np.array([values for _, values in images], np.float64).reshape(-1, 2),
        np.array([values for _, values in normals], np.float64).reshape(-1, 2),
        part_numbers([path for path, _ in normals], store.groups() or []),
    )
    if not drift:
        return drift
    of_images = _exposure(job, [paths[id] for id, _ in images])
    of_normals = _exposure(job, [path for path, _ in normals])
    if of_images is None or of_normals is None:  # the normal images are elsewhere
        return drift
    brightness, sharpness = of_images / np.maximum(of_normals, 1e-6)
    return replace(drift, brightness=float(brightness), sharpness=float(sharpness))


def _exposure(job: Job, paths: Sequence[str]) -> NDArray[np.float64] | None:
    """Return the median brightness and sharpness ``[2]`` of some images, spread over all; None if none can be read."""
    some = [paths[i] for i in spread_indices(len(paths), _LOOKED_AT)]
    measured = []
    for pixels in read_ahead(some, job.context.workers, scale=job.spec.scale):
        if not isinstance(pixels, ImageError):
            exposure = measure(pixels)
            measured.append((exposure.brightness, exposure.blur))
    return np.median(measured, axis=0) if measured else None
