"""``image_quality``: sharpness, exposure and size of images as fields to sort and filter by."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import ArrayLike, NDArray

from ..errors import ImageError
from ..registry.samples import all_slices, check_collection, check_numbers
from ..segments.boxes import Size
from ..utils.exposure import DARK, Exposure, measure
from .registration import Curation, ShowProgress, check_curation, read_samples, write_curation

logger = logging.getLogger(__name__)

QUALITY_KEY = "quality"

ODD = 3.5
"""Modified z-score from which a value is unlike the others (Iglewicz and Hoaglin, "How to detect and handle outliers",
1993)."""

_COMMON = 0.5
"""Share of images of one size from which any other size is odd."""

QUALITY_FIELDS: dict[str, tuple[type[fo.Field], str]] = {
    "_blur": (fo.FloatField, "Variance of the Laplacian, fastdup's 'blur': the lower, the more blurred"),
    "_brightness": (fo.FloatField, "Mean of the grey values, 0 to 255"),
    "_contrast": (fo.FloatField, "Standard deviation of the grey values"),
    "_dark": (fo.FloatField, f"Share of the pixels with a grey value below {DARK}"),
    "_odd_size": (fo.BooleanField, "Whether the size in pixels is unlike that of the other images"),
    "_error": (fo.StringField, "Why the image cannot be read; empty if it can"),
}
"""Types and descriptions of the fields, by what comes after the key in their names."""


def image_quality(
    samples: Samples,
    key: str = QUALITY_KEY,
    tag: str | None = None,
    num_workers: int | None = None,
    progress: ShowProgress = None,
) -> fo.DatasetView:
    """Measure sharpness, exposure and size of images and write them to fields.

    The fields are ``<key>_blur``, ``_brightness``, ``_contrast``, ``_dark``, ``_odd_size`` and ``_error``; they replace
    those of the call before. ``delete_curation`` removes them. The figures are absolute:
    a sharp image of a smooth part has a low ``blur`` too. Compare images of one product with each other.

    Args:
        samples: the images: a dataset, view or selection
        key ("quality"): begins the names of the fields
        tag (None): tag for the images that cannot be read or have an odd size
        num_workers (None): threads that decode images
        progress (None): whether to show a progress bar, or a function that gets it

    Returns:
        a view of the samples: those that cannot be read first, then the most blurred

    Raises:
        ValueError: if a parameter is wrong, before any work

    Examples:
        >>> view = segad.image_quality(dataset, tag="look")  # doctest: +SKIP
        >>> view.first().quality_blur  # doctest: +SKIP
        11.2
    """
    dataset = check_collection(samples, "samples")
    curation = Curation(key, "quality", [f"{key}{name}" for name in QUALITY_FIELDS], tag)
    check_curation(dataset, curation)
    check_numbers(num_workers)
    measured: dict[str, Exposure] = {}
    errors: dict[str, str] = {}
    for id, _, pixels in read_samples(samples, num_workers, progress):
        if isinstance(pixels, ImageError):
            errors[id] = str(pixels)
        else:
            measured[id] = measure(pixels)
    for reason in errors.values():
        logger.warning("Cannot be measured: %s", reason)
    names = ("blur", "brightness", "contrast", "dark")
    values: dict[str, dict[str, Any]] = {
        f"{key}_{name}": {id: getattr(exposure, name) for id, exposure in measured.items()} for name in names
    }
    odd = dict(zip(measured, odd_sizes([exposure.size for exposure in measured.values()]).tolist(), strict=True))
    values |= {f"{key}_odd_size": odd, f"{key}_error": errors}
    kinds = {f"{key}{name}": kind for name, kind in QUALITY_FIELDS.items()}
    write_curation(dataset, curation, kinds, values, [*errors, *(id for id in odd if odd[id])])
    order = [*errors, *sorted(measured, key=lambda id: measured[id].blur)]
    return all_slices(dataset).select(order, ordered=True)


def modified_z(values: ArrayLike) -> NDArray[np.float64]:
    """Return the modified z-scores of values (Iglewicz and Hoaglin, 1993): robust deviations from the median.

    They are in standard deviations of a normal distribution with the same median absolute deviation; with the same
    mean absolute deviation if more than half of the values are equal.

    Args:
        values: array ``[n]``

    Returns:
        float array ``[n]``; all zero if the values are equal

    Examples:
        >>> modified_z([1, 2, 3, 4, 8]).round(2).tolist()
        [-1.35, -0.67, 0.0, 0.67, 3.37]
    """
    array = np.asarray(values, np.float64)
    if array.size == 0:
        return array
    deviations = array - np.median(array)
    # E|x| of a standard normal distribution is sqrt(2 / pi), the median of |x| is 0.6745
    scale = np.median(np.abs(deviations)) / 0.6745 or np.abs(deviations).mean() * np.sqrt(np.pi / 2)
    return deviations / scale if scale > 0 else np.zeros(array.shape)


def odd_sizes(sizes: Sequence[Size]) -> NDArray[np.bool_]:
    """Return for each size whether it is unlike the others.

    If at least half of the images share one size, those are all that have another one; else those whose area or
    aspect ratio is at least ``ODD`` deviations from the median, on a logarithmic scale.

    Examples:
        >>> odd_sizes([(64, 48), (64, 48), (48, 64)]).tolist()
        [False, False, True]
    """
    if not sizes:
        return np.zeros(0, bool)
    common, count = Counter(sizes).most_common(1)[0]
    if count >= _COMMON * len(sizes):
        return np.array([size != common for size in sizes])
    width, height = np.log(np.array(sizes, np.float64)).T  # [n] each
    deviations = np.maximum(np.abs(modified_z(width + height)), np.abs(modified_z(width - height)))
    odd: NDArray[np.bool_] = deviations >= ODD
    return odd
