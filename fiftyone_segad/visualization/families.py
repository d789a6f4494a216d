"""Families of regions as strips of crops and lines of facts, for the panel and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import fiftyone as fo

from ..errors import ImageError, RunError
from ..registry.run import Run
from ..registry.samples import all_slices
from ..review.families import Families, Family, list_families
from ..segments.boxes import PixelBox, RelativeBox, from_relative
from ..storage.families import NEW_LABEL, SINGLE_LABEL
from ..utils.drawing import jpeg_url
from ..utils.grey_scale import GreyScale
from ..utils.images import read_header
from ..utils.text import pluralize
from .pictures import crop_segment

CROPS = 5
"""Crops of a family that are shown: the most typical ones, and the one that fits least."""

_REMEMBERED = 256
"""Crops that are not made again: the panel asks for the same ones often."""

_Value = TypeVar("_Value")


def shown_of(values: Sequence[_Value]) -> list[_Value]:
    """Return those of a family's values that are shown: the first ones, and the last.

    >>> shown_of("abcdefg"), shown_of("ab")
    (['a', 'b', 'c', 'd', 'g'], ['a', 'b'])
    """
    return list(values) if len(values) <= CROPS else [*values[: CROPS - 1], values[-1]]


def listed_families(families: Families) -> list[Family]:
    """Return the families that have regions: first what is new, last what is single."""
    return [family for family in (families.new, *families.families, families.single) if family.size]


def family_title(family: Family) -> str:
    """Return what a family is called for people."""
    return {NEW_LABEL: "Never seen before", SINGLE_LABEL: "Single: they fit nowhere"}.get(family.label, family.label)


def family_facts(family: Family, defective: Mapping[str, bool]) -> str:
    """Say what there is to know of a family in a line.

    Args:
        family: the family
        defective: whether each image is, by sample, where that is known
    """
    facts = [f"mean score {family.mean_score:.2f}", f"spread {family.spread:.2f}"]
    known = [defective[id] for id in family.sample_ids if id in defective]
    if known:
        facts.append(f"{sum(known)} on defective images, {len(known) - sum(known)} on good ones")
    if family.exceptions:
        facts.append(pluralize(len(family.exceptions), "exception"))
    return ", ".join(facts)


def family_crops(dataset: fo.Dataset, run: Run, family: Family) -> list[str]:
    """Return crops of the regions of a family that are shown, as data URLs; an empty one where an image is gone."""
    field = f"{run.field('regions')}.detections"
    samples = all_slices(dataset).select(list(set(shown_of(family.sample_ids))))
    places: dict[str, tuple[str, RelativeBox]] = {}
    for path, ids, boxes in zip(*samples.values(["filepath", f"{field}.id", f"{field}.bounding_box"]), strict=True):
        places |= {id: (path, tuple(box)) for id, box in zip(ids or (), boxes or (), strict=True)}
    urls = []
    for id in shown_of(family.region_ids):
        path, box = places[id]
        try:
            x0, y0, x1, y1 = from_relative(read_header(path).size, [box]).boxes[0].tolist()
            urls.append(_crop(path, (x0, y0, x1, y1), run.grey_scale))
        except (ImageError, ValueError):  # or it is smaller now
            urls.append("")
    return urls


def family_cards(dataset: fo.Dataset | None, run: Run | None, defective: Mapping[str, bool]) -> list[dict[str, Any]]:
    """Describe the families of a run for the report; none where they were not found, or the run's files are gone."""
    if dataset is None or run is None:
        return []
    try:
        families = list_families(dataset, run.key)
    except (RunError, ValueError):
        return []
    return [
        {
            "name": family_title(family),
            "size": family.size,
            "facts": family_facts(family, defective),
            "pictures": [url for url in family_crops(dataset, run, family) if url],
        }
        for family in listed_families(families)
    ]


@lru_cache(maxsize=_REMEMBERED)
def _crop(path: str, box: PixelBox, scale: GreyScale) -> str:
    return jpeg_url(crop_segment(path, box, scale))
