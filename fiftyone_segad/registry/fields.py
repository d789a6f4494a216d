"""Write the label fields of a run.

Everything is written to pending fields first; one rename commits all of them, so that neither a crash nor a full disk
leaves a half-written run or costs the one before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray
from PIL import Image

from ..engine.prediction import decided_score, predict_regions
from ..scoring.conformal import NormalScores
from ..scoring.thresholds import Thresholds
from ..segments.boxes import relative_box
from ..segments.maps import heatmap_size
from ..segments.regions import Region
from ..segments.zones import RecordZones, ZoneScale
from ..storage.records import ImageScores
from ..storage.zones import StoredZones, has_zones, read_zones
from ..utils.files import write_png
from ..utils.threads import usable_cores
from .clearing import delete_fields
from .colours import colour_run
from .keys import ALL_FIELD_NAMES, ANOMALOUS, FIELD_NAMES, NORMAL, ZONES, field_name
from .new_folders import new_folders
from .retry import retry_on_reconnect
from .run import Run, commit_run
from .samples import all_slices, check_exists

TOP_SEGMENTS = 10
"""Segments shown of an image whose segments overlap: all of them would hide it."""

THRESHOLD_FIELDS = ("pred", "mask", "segments", "regions")
"""Fields that depend on the thresholds."""

_BATCH = 64

_KINDS: dict[str, type[fo.Field]] = {
    "score": fo.FloatField,
    "pred": fo.Classification,
    "map": fo.Heatmap,
    "mask": fo.Segmentation,
    "segments": fo.Detections,
    "regions": fo.Detections,
    ZONES: fo.Segmentation,
}

DESCRIPTIONS = {
    "score": "Image anomaly score, higher is more anomalous",
    "pred": "normal or anomalous at the run's threshold; confidence 1 - p if anomalous, else the p-value p",
    "map": "Anomaly map for the eye; black to white is one range of scores for the whole run",
    "mask": "Predicted defect mask, 255 on defects",
    "segments": "Segments with their anomaly_score and index",
    "regions": "Connected regions of the predicted mask with anomaly_score (peak) and area (pixels)",
    ZONES: "Zones of the run: stripes on what is ignored, lines between zones",
}


def write_fields(
    dataset: fo.Dataset,
    run: Run,
    records: Iterable[ImageScores],
    compared: NormalScores,
    names: Iterable[str] = FIELD_NAMES,
    advance: Callable[[int], None] = lambda count: None,
    obsolete: Sequence[str] = (),
) -> None:
    """Write fields of a run for all its images, then register it and commit them together.

    Args:
        dataset: the dataset
        run: the run, whose ``thresholds``, ``map_range`` and ``masks`` are used
        records: the scores of its images
        compared: scores of normal images (of the scored ones, if none are known), for p-values
        names: which of the fields
        advance: called with the number of images that were finished
        obsolete: folders in the key's folder that go then

    Raises:
        OSError: if the map or mask files cannot be written; nothing of the dataset has changed then
    """
    names = tuple(names)
    names += (ZONES,) if has_zones(Path(run.folder)) and "map" in names else ()
    with new_folders(dataset, run, names):
        try:
            _declare(dataset, run.key, names)
            paths = {name: field_name(run.key, name, pending=True) for name in names}
            _write(dataset, run, records, compared, paths, advance)
            colour_run(dataset, run.key)
        except BaseException:
            delete_fields(dataset, run.key, pending_only=True)
            raise
        commit_run(dataset, run, names, obsolete)
    if "map" not in names and "pred" in names and dataset.has_sample_field(run.field("map")):
        _set_heatmap_range(dataset, run)


def add_fields(
    dataset: fo.Dataset,
    run: Run,
    records: Iterable[ImageScores],
    compared: NormalScores,
    advance: Callable[[int], None] = lambda count: None,
) -> None:
    """Write the fields of a run for further images; those of its other images stay.

    Args and errors are those of ``write_fields``. The score field is written last, so a sample without a score is
    known to be incomplete.
    """
    names = [name for name in reversed(ALL_FIELD_NAMES) if dataset.has_sample_field(run.field(name))]
    _write(dataset, run, records, compared, {name: run.field(name) for name in names}, advance)


def _write(
    dataset: fo.Dataset,
    run: Run,
    records: Iterable[ImageScores],
    compared: NormalScores,
    paths: dict[str, str],
    advance: Callable[[int], None],
) -> None:
    """Write labels to fields, which ``paths`` gives by name and in order."""
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="segad-fields") as threads:
        writer = _Writer(run, compared, tuple(paths))
        for batch in fou.iter_batches(records, _BATCH):
            check_exists(dataset)
            labels = list(threads.map(writer.labels, batch))
            for name, path in paths.items():
                values = {record.id: label[name] for record, label in zip(batch, labels, strict=True)}
                retry_on_reconnect(dataset.set_values)(path, values, key_field="id")
            advance(len(batch))
    lists = [path for name, path in paths.items() if name in ("pred", "segments", "regions")]
    retry_on_reconnect(
        lambda: dataset.add_dynamic_sample_fields(all_slices(dataset).get_dynamic_field_schema(fields=lists))
    )()


def heatmap_range(run: Run) -> list[int]:
    """Return the grey levels of a run's heatmaps that the App colours: it leaves clear what is below the first.

    That is the pixel threshold, so that a normal part is clear; all of the map if the run has none.
    """
    pixel, (low, high) = run.thresholds.pixel, run.map_range
    if pixel is None:
        return [0, 255]
    return [int(np.clip(np.ceil(255 * (pixel - low) / max(high - low, 1e-12)), 1, 254)), 255]


def flagged(samples: Samples, run: Run) -> fo.DatasetView:
    """Return a view of the samples that a run calls anomalous.

    Examples:
        >>> flagged(dataset, load_run(dataset, "segad")).count()  # doctest: +SKIP
        20
    """
    view: fo.DatasetView = all_slices(samples).match({f"{run.field('pred')}.label": ANOMALOUS})
    return view


class _Writer:
    """Makes the labels of one image after the other; its methods may run in several threads."""

    def __init__(self, run: Run, compared: NormalScores, names: tuple[str, ...]) -> None:
        self.run = run
        self.compared = compared
        self.names = names
        self.maps = run.store.maps
        self.masks = Path(run.folder) / run.masks
        self.zones = read_zones(Path(run.folder)) or StoredZones()
        for folder in (self.maps, self.masks):
            folder.mkdir(parents=True, exist_ok=True)

    def labels(self, record: ImageScores) -> dict[str, Any]:
        """Make the labels of an image, by name of the field."""
        mask, regions = predict_regions(record, self.run.thresholds)
        score = decided_score(record, self.run.thresholds, lambda: regions)
        make: dict[str, Callable[[], Any]] = {
            "score": lambda: score,
            "pred": lambda: self._prediction(record, score),
            "map": lambda: self._heatmap(record),
            "mask": lambda: self._mask(record, mask),
            ZONES: lambda: self._zones(record.id),
            "segments": lambda: fo.Detections(detections=_segments(record, self.run.thresholds)),
            "regions": lambda: fo.Detections(
                detections=[
                    detection(region, record.segments.size, pixel_size=self.run.pixel_size) for region in regions
                ]
            ),
        }
        return {name: make[name]() for name in self.names}

    def _prediction(self, record: ImageScores, score: float) -> fo.Classification:
        p = float(self.compared.p_values([score])[0])
        zone = {} if record.zones is None or not record.zones.decisive else zone_attributes(record.zones)
        if score > self.run.thresholds.image:
            return fo.Classification(label=ANOMALOUS, confidence=1 - p, p_value=p, **zone)
        return fo.Classification(label=NORMAL, confidence=p, p_value=p, **zone)

    def _heatmap(self, record: ImageScores) -> fo.Heatmap:
        low, high = self.run.map_range
        size = heatmap_size(record.segments.size)
        values = (record.map(size) - low) / max(high - low, 1e-12)
        file = self.maps / f"{record.id}.png"
        write_png(file, Image.fromarray(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)))
        return fo.Heatmap(map_path=str(file), range=heatmap_range(self.run))

    def _mask(self, record: ImageScores, mask: NDArray[np.uint8] | None) -> fo.Segmentation:
        if mask is None:
            return fo.Segmentation(mask_path=str(zero_mask(self.masks, *record.segments.size)))
        file = self.masks / f"{record.id}.png"
        write_png(file, Image.fromarray(mask))
        return fo.Segmentation(mask_path=str(file))

    def _zones(self, id: str) -> fo.Segmentation | None:
        file = self.zones.picture(Path(self.run.folder), id)
        return None if file is None else fo.Segmentation(mask_path=str(file))


@retry_on_reconnect
def _set_heatmap_range(dataset: fo.Dataset, run: Run) -> None:
    """Colour heatmaps from a new pixel threshold on; their files stay."""
    field = run.field("map")
    ids = all_slices(dataset).exists(field).values("id")
    dataset.set_values(f"{field}.range", dict.fromkeys(ids, heatmap_range(run)), key_field="id")


def zero_mask(folder: Path, width: int, height: int) -> Path:
    """Return an all-zero mask file of a size, one for all images of that size."""
    file = folder / f"zero_{width}x{height}.png"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_png(file, Image.new("1", (width, height)))
    return file


def _segments(record: ImageScores, thresholds: Thresholds) -> list[fo.Detection]:
    anomalous = record.outliers if thresholds.pixel is None else record.scores > thresholds.image
    indices = np.arange(len(record.scores))
    if record.segments.overlap:
        indices = np.sort(np.argsort(-record.scores, kind="stable")[:TOP_SEGMENTS])
    boxes = record.segments.relative()
    return [
        fo.Detection(
            label=ANOMALOUS if anomalous[i] else NORMAL,
            bounding_box=boxes[i].tolist(),
            anomaly_score=float(record.scores[i]),
            index=int(i),
        )
        for i in indices
    ]


def zone_attributes(zones: RecordZones) -> dict[str, Any]:
    """Return the attributes that say which zone decides, and the score of each on the zone's own scale."""
    scores = {name: zones.scales.get(name, ZoneScale()).undo(score) for name, score in zones.scores.items()}
    return {"zone": zones.decisive, "zone_scores": scores}


def detection(
    region: Region, size: tuple[int, int], label: str = ANOMALOUS, pixel_size: float | None = None
) -> fo.Detection:
    """Make a Detection of a region, for an image of ``size`` (width, height), with millimetres if a pixel's are known.

    Examples:
        >>> label = detection(Region((0, 0, 5, 2), np.ones((2, 5), bool), 1.0, 10), (10, 10), pixel_size=0.5)
        >>> label.area_mm2, label.length_mm, label.width_mm
        (2.5, 2.5, 1.0)
    """
    attributes: dict[str, Any] = {"zone": region.zone} if region.zone else {}
    if pixel_size is not None:
        length, width = region.extent()
        attributes |= {"area_mm2": region.area * pixel_size**2}
        attributes |= {"length_mm": length * pixel_size, "width_mm": width * pixel_size}
    return fo.Detection(
        label=label,
        bounding_box=list(relative_box(region.box, size)),
        mask=region.mask,
        anomaly_score=region.score,
        area=region.area,
        **attributes,
    )


@retry_on_reconnect
def _declare(dataset: fo.Dataset, key: str, names: tuple[str, ...]) -> None:
    delete_fields(dataset, key, pending_only=True)
    for name in names:
        kind = _KINDS[name]
        pending = field_name(key, name, pending=True)
        if issubclass(kind, fo.Field):
            dataset.add_sample_field(pending, kind, description=DESCRIPTIONS[name])
        else:
            dataset.add_sample_field(
                pending, fo.EmbeddedDocumentField, embedded_doc_type=kind, description=DESCRIPTIONS[name]
            )
