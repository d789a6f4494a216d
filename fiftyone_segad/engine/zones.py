"""Have zones decide what counts of images that are scored: the records of a run stay, and are adjusted when read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from ..errors import SegadError
from ..scoring.conformal import FalseAlarmShare
from ..scoring.thresholds import Thresholds
from ..segments.boxes import Segments
from ..segments.zones import RecordZones, ZoneMap, ZoneScale, fit_scales
from ..storage.parts import ScoreParts
from ..storage.records import ImageScores
from ..storage.store import RunStore
from ..storage.zones import ImageZones, MovedZones, StoredZones, has_zones, read_zones, save_zones
from .calibration import group_scores
from .prediction import zone_scores

ZonesOf = Callable[[str, Segments], ZoneMap | None]
"""Gives the zones of an image, by a sample's id or a normal image's path, and its segments; None if it has none."""

WHOLE = ""
"""Name of the zone of images of which all that is not ignored is inspected."""


def zoned(store: RunStore) -> RunStore:
    """Return a store whose records, when read, are adjusted to the zones of its images; itself if there are none."""
    if not has_zones(store.folder):
        return store
    zones = cache(lambda: read_zones(store.folder) or StoredZones())

    def adjust(record: ImageScores) -> ImageScores:
        return adjust_record(record, zones(), store.folder)

    adjusted = copy.copy(store)
    adjusted.scores = ScoreParts(store.folder / "scores", adjust)
    adjusted.normals = ScoreParts(store.folder / "normals", adjust)
    return adjusted


def adjust_record(record: ImageScores, zones: StoredZones, folder: Path) -> ImageScores:
    """Bring the scores of an image to the scale that all zones have in common; its score is that of its highest zone.

    Args:
        record: the image as it was scored
        zones: the zones of the run
        folder: the run's folder
    """
    image = zones.images.get(record.id)
    if image is not None:
        zone_map, raw = zones.zone_map(folder, record.id), image.scores
    elif zones.scales.get(WHOLE, ZoneScale()) == ZoneScale():
        return record
    else:
        size = record.segments.size
        zone_map, raw = ZoneMap(np.ones(size[::-1], np.uint8), (WHOLE,)), {WHOLE: record.image_score}
    return adjust_scores(record, zone_map, raw, zones.scales)


def adjust_scores(
    record: ImageScores, zone_map: ZoneMap, raw: Mapping[str, float], scales: Mapping[str, ZoneScale]
) -> ImageScores:
    """Bring the scores of an image to the scale that all zones have in common.

    Args:
        record: the image as it was scored
        zone_map: its zones
        raw: its score in each zone that it has, as ``zone_scores`` gives them
        scales: scale of each zone
    """
    scores = {name: scales.get(name, ZoneScale())(score) for name, score in raw.items()}
    of_segments = zone_map.of_segments(record.segments)  # [n]
    adjusted = RecordZones(zone_map, scales, scores, record.scores, of_segments)
    return replace(
        record,
        scores=adjusted.scale(record.scores, of_segments),
        outliers=record.outliers & (of_segments > 0),
        image_score=max(scores.values()),
        zones=adjusted,
    )


def set_zones(store: RunStore, zones_of: ZonesOf, method: str) -> StoredZones:
    """Keep the zones of all images of a store, and fit the scales by which scores of several zones can be compared.

    Args:
        store: the store, its images scored
        zones_of: gives the zones of an image
        method: the run's method; ``within_image`` compares nothing across images, so that scores stay as they are

    Raises:
        SegadError: if an image has nothing to inspect, or a zone is on no normal image
    """
    zones = StoredZones()
    has_outliers = method == "within_image"
    whole = [record.image_score for record in store.normals]
    of_normals = _add_images(zones, store, store.normals, zones_of, has_outliers)
    of_images = _add_images(zones, store, store.scores, zones_of, has_outliers)
    if not has_outliers:
        scores = of_normals if whole else of_images
        for name in of_images.keys() - scores.keys():
            if name != WHOLE:
                raise SegadError(no_normal(name))
            scores[WHOLE] = whole
        zones.scales = fit_scales({name: np.array(values, np.float64) for name, values in scores.items()})
    save_zones(store.folder, zones)
    return zones


def add_zones(store: RunStore, zones_of: ZonesOf, ids: Collection[str]) -> None:
    """Keep the zones of further images of a run; scales stay.

    Raises:
        SegadError: if an image has nothing to inspect, or a zone is on no normal image
    """
    zones = read_zones(store.folder) or StoredZones()
    for id in ids:
        zones.images.pop(id, None)
    names = set(_add_images(zones, store, store.scores_of(ids), zones_of, has_outliers=False))
    unknown = sorted(names - zones.scales.keys() - {WHOLE}) if zones.scales else []
    if unknown:
        raise SegadError(no_normal(unknown[0]))
    save_zones(store.folder, zones)


def common_zones(store: RunStore) -> ZoneMap | None:
    """Return the zones that all images of a run have in common; None if it has none, or others on some image.

    Images of another size, which are inspected as a whole, may be among those that it has scored, but not among the
    normal ones.
    """
    zones = read_zones(store.folder)
    if zones is None or not store.normals.ids() or store.normals.ids() - zones.images.keys():
        return None
    if zones.drawn is not None and all(image.moved for image in zones.images.values()):
        return zones.drawn_map(store.folder)
    first, *others = {image.file: id for id, image in zones.images.items()}.values()
    return None if others else zones.zone_map(store.folder, first)


def on_images_of_the_same_size(zones: ZoneMap) -> ZonesOf:
    """Return a function that gives the zones to every image of their size; they move with parts if they can."""
    return lambda image, segments: zones.on(segments) if zones.labels.shape == segments.size[::-1] else None


@dataclass(frozen=True)
class ZoneSummary:
    """What decides in a zone.

    Attributes:
        name: its name
        threshold: score in the zone, as in ``zone_scores`` of a prediction, above which an image is flagged
        false_alarm_share: share of new good images that this zone alone flags; None if no normals are known
        min_area: pixels that a region there must have
    """

    name: str
    threshold: float
    false_alarm_share: FalseAlarmShare | None
    min_area: float

    def __str__(self) -> str:
        area = f", regions of at least {self.min_area:g} px" if self.min_area else ""
        share = f": {self.false_alarm_share}" if self.false_alarm_share else ""
        return f"zone '{self.name}': anomalous above {self.threshold:.4g}{area}{share}"


def summarise_zones(store: RunStore, thresholds: Thresholds) -> list[ZoneSummary]:
    """Return what decides in each zone of a run that has a name, in the order of their names; nothing without zones.

    Args:
        store: the run's store
        thresholds: its thresholds, on the common scale
    """
    zones = read_zones(store.folder)
    if zones is None:
        return []
    groups = store.groups() or []
    normals = list(store.normals)
    summaries = []
    for name in sorted(set(zones.names) - {WHOLE}):
        threshold = zones.scales.get(name, ZoneScale()).undo(thresholds.image)
        scores = [
            replace(record, image_score=zones.images[record.id].scores[name])
            for record in normals
            if record.id in zones.images and name in zones.images[record.id].scores
        ]
        share = group_scores(scores, groups).false_alarm_share(threshold) if scores else None
        summaries.append(ZoneSummary(name, threshold, share, thresholds.min_area_in(name)))
    return summaries


def no_normal(zone: str) -> str:
    """Say that nothing tells what is normal in a zone."""
    return (
        f"Zone '{zone}' is on no normal image, so that nothing tells what is normal there; draw it on the normal "
        "images, too, or once for all images with zones_from=<id of the sample>"
    )


def _add_images(
    zones: StoredZones, store: RunStore, records: Iterable[ImageScores], zones_of: ZonesOf, has_outliers: bool
) -> dict[str, list[float]]:
    """Add the zones of images; returns the scores of the images by zone."""
    scores: dict[str, list[float]] = {}
    for record in records:
        drawn = zones_of(record.id, record.segments)
        if drawn is None:
            scores.setdefault(WHOLE, []).append(record.image_score)
            continue
        if not drawn.present:
            raise SegadError(f"The zones of image {record.id} leave nothing to inspect; draw them anew")
        file, drawn = zones.add_map(store.folder, drawn)
        image = ImageZones(file, zone_scores(record, drawn, has_outliers))
        if drawn.drawn is not None and drawn.drawn.part is not None:
            source = MovedZones(zones.add_map(store.folder, drawn.drawn)[0], drawn.drawn.part.tolist())
            zones.drawn = zones.drawn or source
            image.moved = source == zones.drawn  # they may have been drawn anew since
        zones.images[record.id] = image
        for name, score in image.scores.items():
            scores.setdefault(name, []).append(score)
    return scores
