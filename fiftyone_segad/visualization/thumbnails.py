"""Small pictures of the images that an evaluation got wrong, for its report."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import fiftyone as fo
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data.truth import Truth, read_truth
from ..engine.prediction import predicted_mask
from ..errors import ImageError, RunError
from ..registry.run import Run
from ..scoring.thresholds import p_values
from ..segments.maps import anomaly_map
from ..storage.records import ImageScores
from ..utils.images import read_image
from .pictures import outlined, overlay, short_name, tinted

if TYPE_CHECKING:
    from ..evaluation.results import AnomalyResults

SIDE = 320
"""Longest side of a thumbnail in pixels."""

SHOWN = ("image", "anomaly map", "mask")
"""What is drawn of each image."""

_QUALITY = 82


@dataclass
class Thumbnails:
    """An image as a report shows it.

    Attributes:
        id: the sample's id
        name: its file and the folder of it
        p_value: share of the normal images that score as high, None if it is not known
        pictures: JPEG files by what they show, of ``SHOWN``
        problems: why pictures are missing
    """

    id: str
    name: str
    p_value: float | None = None
    pictures: dict[str, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def false_alarms(results: AnomalyResults) -> list[str]:
    """Ids of the normal images that were flagged, highest score first."""
    return results.ids("FP")


def misses(results: AnomalyResults) -> list[str]:
    """Ids of the defective images that were not flagged, largest defect first: it should have been the easiest."""

    def size(id: str) -> tuple[int, float]:
        image = results.images[id]
        return -(image.pixels.tp + image.pixels.fn), image.score

    return sorted(results.ids("FN"), key=size)


def draw_thumbnails(results: AnomalyResults, ids: Sequence[str]) -> list[Thumbnails]:
    """Draws image, map and masks of some images, from the scores and thresholds of the evaluation.

    What is gone since (an image, a mask, the run's folder, the sample, the dataset) is missing in the pictures, and
    ``problems`` says so.
    """
    paths, truths = _samples_of(results, ids)
    records = _records_of(results.run, set(ids))
    normals = _normal_scores(results.run)
    made = []
    for id in ids:
        thumbnails = Thumbnails(id, short_name(paths[id]) if id in paths else id)
        if normals.size:
            thumbnails.p_value = float(p_values([results.images[id].score], normals)[0])
        if id in paths:
            _draw(thumbnails, paths[id], truths.get(id), records.get(id), results.run)
        else:
            thumbnails.problems.append("The sample is not in the dataset any more")
        made.append(thumbnails)
    return made


def facts_of(results: AnomalyResults, thumbnails: Thumbnails) -> str:
    """What stands below the pictures: kind of defect, score, threshold and p-value."""
    image = results.images[thumbnails.id]
    facts = [" / ".join(part for part in image.group if part)] if image.defective else []
    facts += [f"score {image.score:.4g}", f"threshold {results.threshold:.4g}"]
    if thumbnails.p_value is not None:
        facts.append(f"p-value {thumbnails.p_value:.3g}")
    return " · ".join(facts)


def names_of(results: AnomalyResults, ids: Sequence[str]) -> dict[str, str]:
    """Files and folders of the samples that are still in the dataset, by id."""
    return {id: short_name(path) for id, path in _paths(_dataset(results), ids).items()}


def _draw(thumbnails: Thumbnails, path: str, truth: Truth | None, record: ImageScores | None, run: Run | None) -> None:
    try:
        image = read_image(path)
    except ImageError as error:
        thumbnails.problems.append(str(error))
        return
    full = (image.shape[1], image.shape[0])
    scale = min(1.0, SIDE / max(full))
    size = (max(1, round(full[0] * scale)), max(1, round(full[1] * scale)))
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    thumbnails.pictures["image"] = _jpeg(small)
    masks = tinted(small, np.zeros(small.shape[:2], bool))
    if record is not None and run is not None:
        low, high = run.map_range
        heat = (anomaly_map(record.segments, record.scores, size) - low) / max(high - low, 1e-12)
        thumbnails.pictures["anomaly map"] = _jpeg(overlay(small, np.clip(heat, 0, 1)))
        predicted = predicted_mask(record, anomaly_map(record.segments, record.scores), run.thresholds)
        masks = tinted(small, _shrunk(predicted, size))
    else:
        thumbnails.problems.append("The run's scores are gone, and with them map and predicted mask")
    try:
        defective = truth.read(full) if truth is not None else None
    except ImageError as error:
        defective = None
        thumbnails.problems.append(str(error))
    if defective is not None:
        masks = outlined(masks, _shrunk(defective.astype(np.uint8) * 255, size))
    thumbnails.pictures["mask"] = _jpeg(masks)


def _shrunk(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask of 0 and 255 at a size. Of what is small something stays: a pixel is set if any of its pixels is."""
    height, width = mask.shape
    larger = size[0] > width or size[1] > height
    method = cv2.INTER_NEAREST if larger else cv2.INTER_AREA
    resized = cv2.resize(mask.astype(np.float32), size, interpolation=method)  # of integers a share rounds to nothing
    small: NDArray[np.bool_] = resized > 0
    return small


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return file.getvalue()


def root_dataset(results: AnomalyResults) -> Any:
    """The whole dataset, as the view that was evaluated may have lost samples. Only its name is safe: it may be gone.

    None if the results hold no samples.
    """
    samples = results.samples
    # A deleted dataset refuses to be asked for its root, which it is itself
    return samples if samples is None or isinstance(samples, fo.Dataset) else samples._root_dataset


def _dataset(results: AnomalyResults) -> Any:
    dataset = root_dataset(results)
    return None if dataset is None or dataset.deleted or not fo.dataset_exists(dataset.name) else dataset


def _paths(dataset: Any, ids: Sequence[str]) -> dict[str, str]:
    if dataset is None or not ids:
        return {}
    return dict(zip(*dataset.select(list(ids)).values(["id", "filepath"]), strict=True))


def _samples_of(results: AnomalyResults, ids: Sequence[str]) -> tuple[dict[str, str], dict[str, Truth]]:
    dataset = _dataset(results)
    paths = _paths(dataset, ids)
    if not paths:
        return {}, {}
    try:
        return paths, read_truth(dataset.select(list(paths)), results.gt_field)
    except ValueError:  # the field was removed
        return paths, {}


def _records_of(run: Run | None, ids: set[str]) -> dict[str, ImageScores]:
    found: dict[str, ImageScores] = {}
    if run is None:
        return found
    try:
        for record in run.store.scores:
            if record.id in ids:
                found[record.id] = record
                if len(found) == len(ids):
                    break
    except RunError:  # damaged; what was read until there is shown
        pass
    return found


def _normal_scores(run: Run | None) -> NDArray[np.float64]:
    try:
        return np.array([record.image_score for record in run.store.normals] if run is not None else [], np.float64)
    except RunError:
        return np.zeros(0)
