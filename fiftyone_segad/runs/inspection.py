"""Check what of the images is inspected: zones, and how small a region may be."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fiftyone as fo
from fiftyone.core.collections import SampleCollection as Samples

from ..data.zones import ZoneDrawings, check_drawings, read_drawings
from ..engine.zones import no_normal, set_zones, zoned
from ..registry.run import Run
from ..registry.samples import all_slices
from ..segments.boxes import Segments
from ..segments.zones import ZoneMap
from ..storage.store import RunStore
from ..storage.zones import StoredZones, ZoneField, read_zones, remove_zones
from ..utils.grey_scale import GreyScale

MinArea = float | str | Mapping[str, float | str] | None
"""A smallest area: a number of pixels, a text as ``"0.5 mm2"``, or one of these by zone."""

PIXEL_SIZE = "pixel_size"
"""Key of the side of a pixel in mm in a dataset's ``info``."""

_AREA = re.compile(r"\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(px|mm2|mm²)\s*\Z")


@dataclass(frozen=True)
class InspectionRequest:
    """What of the images is inspected.

    Attributes:
        drawings: the zones that are drawn; None if images are inspected as a whole
        source: where they are drawn
        min_area: pixels that a region must have, by zone; ``""`` is for all others
        pixel_size: side of a pixel in mm; None if it is not known
    """

    drawings: ZoneDrawings | None
    source: ZoneField | None
    min_area: dict[str, float]
    pixel_size: float | None

    @classmethod
    def checked(
        cls,
        samples: Samples,
        reference: Samples | None,
        method: str,
        zones: str | None,
        zones_from: str | None,
        min_area: MinArea,
        pixel_size: float | None,
    ) -> InspectionRequest:
        """Check the arguments of ``compute_segment_anomalies``, before any work.

        Raises:
            ValueError: if one is wrong
        """
        if zones is None and zones_from is not None:
            raise ValueError(f"zones_from={zones_from!r} needs zones=..., the field in which that sample's are drawn")
        drawings, names = None, set[str]()
        if zones is not None:
            drawings = read_drawings(samples, zones, zones_from, reference)
            names = _check_zones(drawings, samples, reference if method == "reference" else None)
        size = _pixel_size(samples._root_dataset, pixel_size)
        source = None if zones is None else ZoneField(zones, zones_from)
        return cls(drawings, source, parse_min_area(min_area, names, size), size)

    def set_zones(self, store: RunStore, method: str, scale: GreyScale) -> RunStore:
        """Keep the zones of the images that a store has scored; returns the store with scores as zones have them.

        Args:
            store: the store
            method: the run's method
            scale: grey values by which its images are read

        Raises:
            SegadError: if an image has nothing to inspect, or zones cannot move with its parts
        """
        if self.drawings is None:
            remove_zones(store.folder)
        else:
            set_zones(store, _moving(self.drawings, store, scale), method)
        return zoned(store)

    def record(self, run: Run) -> Run:
        """Return a run with what is inspected in its record."""
        return replace(run, zones=self.source, pixel_size=self.pixel_size)


@dataclass(frozen=True)
class PresentDrawings:
    """The zones of a run as they are drawn now; normal images that are not in the dataset keep those they had.

    Attributes:
        drawings: what is drawn in the dataset
        paths: files of the dataset's images, and the ids of its samples
        earlier: the zones of the run
        store: its store
    """

    drawings: ZoneDrawings
    paths: set[str]
    earlier: StoredZones
    store: RunStore

    def __call__(self, image: str, segments: Segments) -> ZoneMap | None:
        """Return the zones of an image, as ``ZoneDrawings`` does."""
        if image not in self.paths and image in self.earlier.images:
            return self.earlier.zone_map(self.store.folder, image)
        return self.drawings(image, segments)


def present_zones(dataset: fo.Dataset, run: Run, source: ZoneField) -> PresentDrawings:
    """Read the zones of a run anew; a run that has them keeps them where the dataset has no such field.

    Raises:
        ValueError: if the field or sample is gone, or what is drawn is wrong
    """
    samples, earlier = all_slices(dataset), read_zones(Path(run.folder)) or StoredZones()
    if source == run.zones and not dataset.has_sample_field(source.field):
        return PresentDrawings(ZoneDrawings(source.field, {}), set(), earlier, RunStore(run.folder))
    drawings = _moving(read_drawings(samples, source.field, source.zones_from), run.store, run.grey_scale)
    ids, paths = samples.values(["id", "filepath"])
    scored = run.store.scores.ids()
    check_drawings(drawings, {id: path for id, path in zip(ids, paths, strict=True) if id in scored})
    return PresentDrawings(drawings, {*ids, *paths}, earlier, RunStore(run.folder))


def zones_of_new(samples: Samples, run: Run) -> ZoneDrawings | None:
    """Read and check the zones of further images of a run; None if the run has none.

    Raises:
        ValueError: if they are wrong, or on none of the run's normal images
    """
    if run.zones is None:
        return None
    drawings = _moving(read_drawings(samples, run.zones.field, run.zones.zones_from), run.store, run.grey_scale)
    ids, paths = samples.values(["id", "filepath"])
    check_drawings(drawings, dict(zip(ids, paths, strict=True)))
    stored = read_zones(run.store.folder)
    unknown = sorted(drawings.names(ids) - stored.scales.keys()) if stored and stored.scales else []
    if unknown:
        raise ValueError(f"zones: {no_normal(unknown[0])}")
    return drawings


def _moving(drawings: ZoneDrawings, store: RunStore, scale: GreyScale) -> ZoneDrawings:
    """Have zones that were drawn once move with the parts of a run that lays these straight."""
    return drawings.move_with_parts(scale) if store.aligned else drawings


def parse_min_area(min_area: MinArea, names: set[str], pixel_size: float | None) -> dict[str, float]:
    """Return the smallest areas in pixels by zone, ``""`` for all others.

    Args:
        min_area: as in ``compute_segment_anomalies``
        names: the zones that there are
        pixel_size: side of a pixel in mm; None if it is not known

    Raises:
        ValueError: if it is no area, a zone does not exist, or mm2 are asked for and nobody knows what a pixel is

    Examples:
        >>> parse_min_area({"rim": "0.5 mm2"}, {"rim", "face"}, 0.1)
        {'rim': 50.0}
        >>> parse_min_area(30, set(), None)
        {'': 30.0}
    """
    if min_area is None:
        return {}
    areas = dict(min_area) if isinstance(min_area, Mapping) else {"": min_area}
    for zone in areas:
        if isinstance(min_area, Mapping) and zone not in names:
            raise ValueError(f"min_area names the zone {zone!r}, which is drawn nowhere; zones are {sorted(names)}")
    return {zone: _pixels(area, pixel_size) for zone, area in areas.items()}


def _pixels(area: Any, pixel_size: float | None) -> float:
    unit = "px"
    if isinstance(area, str) and (parsed := _AREA.match(area)):
        area, unit = parsed.group(1), parsed.group(2)
    try:
        value = float(area) if not isinstance(area, bool) else math.nan
    except (TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"min_area={area!r} is no area; give pixels, e.g. 30, or '0.5 mm2'")
    if unit == "px":
        return value
    if pixel_size is None:
        raise ValueError(
            f"min_area='{area} mm2' needs the size of a pixel; pass pixel_size=0.05 (mm), or set "
            f"dataset.info['{PIXEL_SIZE}'] and save the dataset"
        )
    return round(value / pixel_size**2, 6)


def _pixel_size(dataset: fo.Dataset, pixel_size: Any) -> float | None:
    name = "pixel_size"
    if pixel_size is None:
        pixel_size, name = (dataset.info or {}).get(PIXEL_SIZE), f"dataset.info['{PIXEL_SIZE}']"
    if pixel_size is None:
        return None
    is_number = isinstance(pixel_size, (int, float)) and not isinstance(pixel_size, bool)
    if not is_number or not math.isfinite(pixel_size) or pixel_size <= 0:
        raise ValueError(f"{name}={pixel_size!r} must be the side of a pixel in mm, above 0")
    return float(pixel_size)


def _check_zones(drawings: ZoneDrawings, samples: Samples, reference: Samples | None) -> set[str]:
    """Check the zones of a new run, and return their names."""
    ids, paths = samples.values(["id", "filepath"])
    images = dict(zip(ids, paths, strict=True))
    names = drawings.names(ids)
    if reference is not None:
        normals = reference.values("filepath")
        images |= dict(zip(normals, normals, strict=True))
        missing = sorted(names - drawings.names(normals))
        if missing:
            raise ValueError(f"zones: {no_normal(missing[0])}")
    check_drawings(drawings, images)
    return names
