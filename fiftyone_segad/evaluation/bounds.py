"""``AnomalyResults.bounds``: what may be missed at most, of each kind, or by the values of a field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..metrics.bounds import bound_row
from ..metrics.image_result import ImageResult
from ..registry.samples import all_slices

if TYPE_CHECKING:
    from .results import AnomalyResults

VIEW = "view"
"""Stands for the views of a grouped dataset, its slices."""

ZONE = "zone"
"""Tells the zones apart that decided."""

_ALL = "all defects"


def bounds(results: AnomalyResults, by: str | None, confidence: float) -> list[dict[str, Any]]:
    """See ``AnomalyResults.bounds``."""
    images = list(results.images.values())
    groups: dict[str, list[ImageResult]] = {}
    if by is None:
        for image in sorted(images, key=lambda image: image.group):
            if image.defective:
                groups.setdefault(" / ".join(filter(None, image.group)), []).append(image)
        groups[_ALL] = [image for image in images if image.defective]
        groups["good"] = [image for image in images if not image.defective]
    else:
        values = _values(results, by)
        for image in sorted(images, key=lambda image: values.get(image.id, "")):
            groups.setdefault(values.get(image.id, ""), []).append(image)
    return [row for group, members in groups.items() for row in _rows(group, members, confidence)]


def _rows(group: str, images: Sequence[ImageResult], confidence: float) -> list[dict[str, Any]]:
    """Return the rows of the defective and of the good images of a group, as far as it has any."""
    outcomes = (("missed", True), ("false alarms", False))
    parts = ((outcome, [image for image in images if image.defective == defective]) for outcome, defective in outcomes)
    return [bound_row(group, outcome, members, confidence) for outcome, members in parts if members]


def _values(results: AnomalyResults, by: str) -> dict[str, str]:
    """Return the value of a field of each evaluated sample, by id; empty for none.

    Raises:
        ValueError: if the samples are not known, or have no such field
    """
    if results.samples is None:
        raise ValueError(f"by={by!r} needs samples, which these results do not have; evaluate them again")
    dataset = results.samples._root_dataset
    path = f"{dataset.group_field}.name" if by == VIEW and dataset.group_field else by
    if by == ZONE and dataset.get_field(ZONE) is None:
        path = f"{results.key}_pred.zone"
    if dataset.get_field(path) is None:
        raise ValueError(
            f"by={by!r} is no field of dataset '{dataset.name}'; name one whose values are to be told apart"
        )
    ids, values = all_slices(dataset).select(list(results.images)).values(["id", path])
    return {
        id: "" if value is None else str(getattr(value, "label", value)) for id, value in zip(ids, values, strict=True)
    }
