"""``image_quality``: sharpness, exposure and size of images as fields to sort and filter by."""

from __future__ import annotations

import logging
from typing import Any

import fiftyone as fo
from fiftyone.core.collections import SampleCollection as Samples

from ..errors import ImageError
from ..registry.samples import check_collection, check_numbers
from .exposure import DARK, Exposure, measure, odd_sizes
from .registration import Curation, Progress, check_curation, read_samples, write_curation

logger = logging.getLogger(__name__)

QUALITY_KEY = "quality"

FIELDS: dict[str, tuple[type[fo.Field], str]] = {
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
    progress: Progress = None,
) -> fo.DatasetView:
    """Measures sharpness, exposure and size of images and writes them to fields.

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
    """
    dataset = check_collection(samples, "samples")
    curation = Curation(key, "quality", [f"{key}{name}" for name in FIELDS], tag)
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
        f"{key}_{name}": {id: getattr(each, name) for id, each in measured.items()} for name in names
    }
    odd = dict(zip(measured, odd_sizes([each.size for each in measured.values()]).tolist(), strict=True))
    values |= {f"{key}_odd_size": odd, f"{key}_error": errors}
    kinds = {f"{key}{name}": kind for name, kind in FIELDS.items()}
    write_curation(dataset, curation, kinds, values, [*errors, *(id for id in odd if odd[id])])
    order = [*errors, *sorted(measured, key=lambda id: measured[id].blur)]
    return dataset.select(order, ordered=True)
