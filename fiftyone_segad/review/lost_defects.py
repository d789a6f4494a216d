"""Defects that a run found and does not find any more, by the ground truth."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..data.truth import Truth
from ..engine.prediction import predicted_mask
from ..errors import SegadError
from ..scoring.thresholds import Thresholds
from ..segments.boxes import RelativeBox, relative_box
from ..segments.regions import label_regions, match_regions, regions_of
from ..storage.records import ImageScores
from ..storage.store import RunStore
from ..utils.threads import prefetch_map

MatchedRegions = dict[str, dict[int, RelativeBox]]
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
    box: RelativeBox | None = None


def found_regions(
    store: RunStore, thresholds: Thresholds, truths: Mapping[str, Truth], ids: Collection[str]
) -> MatchedRegions:
    """Find which regions of the ground truth are matched (``match_regions``).

    Args:
        store: the scores of the images
        thresholds: thresholds of the predicted masks
        truths: ground truth by sample id; what cannot be read counts as unknown
        ids: the samples to look at
    """

    def matched(record: ImageScores) -> dict[int, RelativeBox] | None:
        size = record.segments.size
        try:
            mask = truths[record.id].read_areas(size).without(record.ignored).mask
        except (SegadError, ValueError):
            return None
        if mask is None:
            return None
        anomaly = record.map()
        labels, count = label_regions(predicted_mask(record, anomaly, thresholds))
        truth_labels, truth_count = label_regions(mask)
        hits = match_regions(labels, truth_labels, (count, truth_count)).found
        regions = regions_of(truth_labels, truth_count, anomaly)
        return {
            number: relative_box(region.box, size)
            for number, (region, hit) in enumerate(zip(regions, hits, strict=True))
            if hit
        }

    records = (record for record in store.scores if record.id in ids and record.id in truths)
    return {record.id: boxes for record, boxes in prefetch_map(matched, records) if boxes is not None}


def lost_regions(before: MatchedRegions, after: MatchedRegions) -> list[LostDefect]:
    """List the regions that were found before a change and are not after it.

    Examples:
        >>> dent, scratch = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 0.1, 0.1)
        >>> lost_regions({"sample": {0: dent, 1: scratch}}, {"sample": {1: scratch}})
        [LostDefect(sample_id='sample', box=(0.0, 0.0, 0.5, 0.5))]
    """
    return [
        LostDefect(id, box)
        for id, boxes in before.items()
        for number, box in boxes.items()
        if number not in after.get(id, {})
    ]
