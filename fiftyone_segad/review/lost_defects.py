"""Defects that a run found and does not find any more, by the ground truth."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..data.truth import Truth
from ..engine.prediction import predicted_mask
from ..errors import SegadError
from ..scoring.thresholds import Thresholds
from ..segments.maps import anomaly_map, label_regions, regions_of
from ..segments.region_matching import match_regions
from ..storage.records import ImageScores
from ..storage.store import RunStore
from ..utils.threads import prefetch_map

Box = tuple[float, float, float, float]
"""Relative ``x, y, width, height``."""

Found = dict[str, dict[int, Box]]
"""Those regions of the ground truth that a predicted region matches, by sample id and number of the region. Images in
which the ground truth shows a defect are there even if none is matched."""


@dataclass(frozen=True)
class LostDefect:
    """A defect that was found before a change, and is not any more.

    Attributes:
        sample_id: the sample
        box: where its region of the ground truth is, relative ``x, y, width, height``; None if the image is not
            flagged any more, while nothing says where its defect is, or another part of it had been flagged
    """

    sample_id: str
    box: Box | None = None


def found_regions(store: RunStore, thresholds: Thresholds, truths: Mapping[str, Truth], ids: Collection[str]) -> Found:
    """Find which regions of the ground truth are matched (``match_regions``).

    Args:
        store: the scores of the images
        thresholds: thresholds of the predicted masks
        truths: ground truth by sample id; what cannot be read counts as unknown
        ids: the samples to look at
    """

    def found(record: ImageScores) -> dict[int, Box] | None:
        size = record.segments.size
        try:
            mask = truths[record.id].read(size)
        except (SegadError, ValueError):
            return None
        if mask is None:
            return None
        anomaly = anomaly_map(record.segments, record.scores)
        labels, count = label_regions(predicted_mask(record, anomaly, thresholds))
        truth, truth_count = label_regions(mask)
        _, hits = match_regions(labels, truth, (count, truth_count))
        boxes = (region.box for region in regions_of(truth, truth_count, anomaly))
        return {i: _relative(box, size) for i, (box, hit) in enumerate(zip(boxes, hits, strict=True)) if hit}

    records = (record for record in store.scores if record.id in ids and record.id in truths)
    return {record.id: regions for record, regions in prefetch_map(found, records) if regions is not None}


def lost_regions(before: Found, after: Found) -> list[LostDefect]:
    """The regions that were found before and are not after."""
    return [
        LostDefect(id, box)
        for id, regions in before.items()
        for number, box in regions.items()
        if number not in after.get(id, {})
    ]


def _relative(box: tuple[int, int, int, int], size: tuple[int, int]) -> Box:
    (x0, y0, x1, y1), (width, height) = box, size
    return x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height
