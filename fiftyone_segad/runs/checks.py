"""Check what belongs together in a request for a run."""

from __future__ import annotations

from collections.abc import Mapping

from fiftyone.core.collections import SampleCollection as Samples

from ..data.truth import GT_FIELD, check_defects
from ..engine.job import JobImage
from ..engine.siblings import FEWEST_PARTS
from ..scoring.mutual import FEWEST
from ..scoring.thresholds import DEFAULT_FPR, DEFAULT_QUANTILE, ThresholdRule, parse_threshold


def check_reference(method: str, images: list[JobImage], normals: list[JobImage], copies: Mapping[str, str]) -> None:
    """Check that a method has the images to compare with that it needs.

    Args:
        method: the method
        images: the images to score
        normals: the normal images
        copies: paths of images that are copies of others, and of these

    Raises:
        ValueError: if it has not
    """
    if method == "reference" and not normals:
        raise ValueError(
            "method='reference' needs normal images: pass reference=..., e.g. dataset.match_tags('good') or "
            "dataset.match(F('split') == 'train'); without any, use method='unlabeled'"
        )
    if method == "unlabeled" and normals:
        raise ValueError("method='unlabeled' takes no reference=...; with normal images use method='reference'")
    if method == "unlabeled" and len({image.path for image in images} - copies.keys()) <= FEWEST:
        raise ValueError(
            f"method='unlabeled' compares images with each other and needs at least {FEWEST + 1}, got {len(images)}"
        )
    paths = {copies.get(image.path, image.path) for image in images}
    if method == "reference" and len(normals) == 1 and paths == {normals[0].path}:
        raise ValueError("The only normal image is also the only image to score; add normals to reference=...")


def check_align(align: object, method: str, segments: object) -> None:
    """Check whether parts can be laid straight.

    Raises:
        ValueError: if it is asked for where they cannot
    """
    if align not in (None, True, False):
        raise ValueError(f"align={align!r} must be True, False or None")
    if align and method == "within_image":
        raise ValueError("align=True is for methods that compare images with each other, not 'within_image'")
    if align and segments is not None:
        raise ValueError("align=True lays the embedder's own patches on the straight part; leave segments out")


def check_clean(clean: object, method: str, normals: list[JobImage]) -> None:
    """Check that the second-nearest part can be asked for.

    Raises:
        ValueError: if it cannot
    """
    if not isinstance(clean, bool):
        raise ValueError(f"clean={clean!r} must be True or False")
    if clean and method != "reference":
        raise ValueError("clean=True is for method='reference', which compares with normal images; leave it out")
    if clean and len(normals) < FEWEST_PARTS:
        raise ValueError(
            f"clean=True compares with the second-nearest part and needs at least {FEWEST_PARTS} normal images in "
            f"reference=..., got {len(normals)}"
        )


def check_threshold(threshold: str | float | None, samples: Samples, normals: list[JobImage]) -> ThresholdRule:
    """Return the rule of a threshold, or that which is usual for so many normal images.

    Raises:
        ValueError: if it is no rule, or needs normal images or a ground truth that are not there
    """
    if threshold is None:
        threshold = f"fpr:{DEFAULT_FPR}" if len(normals) > 1 else f"quantile:{DEFAULT_QUANTILE}"
    rule = parse_threshold(threshold)
    if rule.kind == "fpr" and len(normals) < 2:
        raise ValueError(f"threshold='{rule}' needs at least 2 normal images in reference=...; use 'quantile:0.95'")
    if rule.kind == "f1":
        check_defects(samples, GT_FIELD)
    return rule
