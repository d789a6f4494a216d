"""Name the families of the regions of single images, from what a bank file knows of families."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..scoring.families import SINGLE, make_prototypes
from ..scoring.levels import LevelFeatures
from ..scoring.region_vectors import NormalSegments, RegionSegments, describe_regions, elongation_of, weigh_segments
from ..segments.boxes import PixelBox, Segments
from ..segments.regions import Region
from ..storage.families import NEW, SavedFamilies
from ..storage.records import ImageFeatures, ImageScores
from ..utils.arrays import spread_indices

NORMAL_ROWS = 65_536
"""Normal segments that regions are compared with at most, per level, spread evenly over the bank's images."""


class FamilyNamer:
    """Names the families of the regions of an image.

    Args:
        families: the families of the bank
        normals: normal segments of each level, as ``normal_segments`` chooses them
    """

    def __init__(self, families: SavedFamilies, normals: Sequence[NormalSegments]) -> None:
        self._families, self._normals = families, normals
        self._prototypes = make_prototypes(families.vectors, families.families)

    def names(
        self, record: ImageScores, regions: Sequence[Region], segments: Sequence[Segments], rows: LevelFeatures
    ) -> list[str]:
        """Return the name of the family of each region, ``new`` where it fits into none.

        Args:
            record: the scores of the image
            regions: its regions
            segments: its segments, one entry per level
            rows: arrays ``[n, d]`` of their features, one per level
        """
        if not regions:
            return []
        described = [segments_of_region("", region.box, region.mask, record, segments, rows) for region in regions]
        numbers, _ = self._prototypes.assign(describe_regions(described, self._normals))
        return [self._families.label(NEW if number == SINGLE else number) for number in numbers.tolist()]


def segments_of_region(
    image: str,
    box: PixelBox,
    mask: NDArray[np.bool_],
    record: ImageScores,
    segments: Sequence[Segments],
    rows: LevelFeatures,
) -> RegionSegments:
    """Choose the segments that describe a region.

    Args:
        image: path of its image
        box: its box in pixels
        mask: bool array of the box's size, True on the region
        record: the scores of its image
        segments: the image's segments, one entry per level
        rows: arrays ``[n, d]`` of their features, one per level
    """
    width, height = record.segments.size
    numbers, weights = zip(
        *(weigh_segments(mask, box, level, record.segments, record.scores) for level in segments), strict=True
    )
    return RegionSegments(
        image,
        float(mask.sum()) / (width * height),
        elongation_of(mask),
        [np.asarray(values[chosen], np.float32) for values, chosen in zip(rows, numbers, strict=True)],
        list(weights),
    )


def normal_segments(bank: Iterable[ImageFeatures], images: int) -> list[NormalSegments]:
    """Choose normal segments of each level.

    Args:
        bank: the normal images
        images: how many there are; without any, there are no levels
    """
    share = max(NORMAL_ROWS // max(images, 1), 1)
    rows: list[list[NDArray[np.float32]]] = []
    owners: list[list[str]] = []
    for image in bank:
        for level, values in enumerate(image.features):
            if level == len(rows):
                rows.append([])
                owners.append([])
            chosen = np.asarray(values[spread_indices(len(values), share)], np.float32)
            rows[level].append(chosen)
            owners[level] += [image.path] * len(chosen)
    return [
        NormalSegments(np.concatenate(parts), np.array(paths, object))
        for parts, paths in zip(rows, owners, strict=True)
    ]
