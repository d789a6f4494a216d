"""The original method on one picture in the App: a dataset for trials, and the outlier segments as its labels.

The dataset is not persistent: FiftyOne removes it when nothing uses the database any more. Its folder goes when the
next one is made.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..embedders.factory import resolve_name
from ..engine.single_image import ImageOutliers, find_outlier_segments
from ..registry.colours import set_colours
from ..registry.folders import dataset_folder
from ..registry.keys import ANOMALOUS, PLUGIN
from ..utils.files import write_png
from ..utils.images import pixel_digest

DATASET = "segad-try"
"""Name of the dataset of trials."""

OUTLIERS, NEAREST = "outliers", "nearest"
"""Its fields of segments; the second is also the label of these."""

_RED, _GREEN = "#ff0000", "#00c853"

_STORE, _FOLDER, _PENDING = "fiftyone_segad", "trial_folder", "trial_pending"

_TTL = 60  # seconds within which the App must have opened the dataset


@dataclass(frozen=True)
class TriedImage:
    """Outliers of one picture.

    Attributes:
        sample_id: the sample of the dataset ``DATASET`` that shows it
        embedder: the embedder that was used
        grid: segments a side
        result: the segments and outliers
    """

    sample_id: str
    embedder: str
    grid: int
    result: ImageOutliers


def try_upload(pixels: NDArray[np.uint8], grid: int) -> TriedImage:
    """Find the outlier segments of an uploaded picture, which becomes a file and a sample of the dataset.

    Args:
        pixels: uint8 RGB array ``[height, width, 3]``
        grid: segments a side

    Raises:
        ValueError: if the grid does not fit the picture
        MissingDependencyError: if no embedder is installed
    """
    dataset = _dataset()
    file = _uploads(dataset) / f"{pixel_digest(pixels)}.png"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_png(file, Image.fromarray(pixels), compress_level=1)
    return _try(dataset, str(file), grid)


def try_file(filepath: str, grid: int) -> TriedImage:
    """Find the outlier segments of the picture of a sample of another dataset, which stays as it is.

    The new sample of the dataset of trials shares its file. A second trial takes the place of the first one.

    Args:
        filepath: the sample's file
        grid: segments a side

    Raises:
        ImageError: if the picture cannot be read
        ValueError: if the grid does not fit it
        MissingDependencyError: if no embedder is installed
    """
    return _try(_dataset(), filepath, grid)


def set_pending(sample_id: str) -> None:
    """Note the sample that is to be shown as soon as the App has opened the dataset of trials."""
    foo.ExecutionStore.create(_STORE).set(_PENDING, sample_id, ttl=_TTL)


def take_pending() -> str | None:
    """Return the sample that is waiting to be shown, once."""
    store = foo.ExecutionStore.create(_STORE)
    sample_id: str | None = store.get(_PENDING)
    store.delete(_PENDING)
    return sample_id


def _try(dataset: fo.Dataset, filepath: str, grid: int) -> TriedImage:
    embedder = resolve_name("auto", "within_image")
    result = find_outlier_segments(filepath, f"grid:{grid}", embedder)
    earlier = dataset.match({"filepath": filepath}).values("id")
    sample = dataset[earlier[0]] if earlier else fo.Sample(filepath=filepath)
    sample["grid"] = grid
    sample["embedder"] = embedder
    sample[OUTLIERS] = _outliers(result)
    sample[NEAREST] = _nearest(result)
    if earlier:
        sample.save()
    else:
        dataset.add_sample(sample)
    return TriedImage(sample.id, embedder, grid, result)


def _outliers(result: ImageOutliers) -> fo.Detections:
    boxes = result.segments.relative()
    pairs = zip(result.outliers.indices.tolist(), result.outliers.similarities.tolist(), strict=True)
    return fo.Detections(
        detections=[
            fo.Detection(
                label=ANOMALOUS,
                bounding_box=boxes[index].tolist(),
                index=index,
                anomaly_score=float(result.scores[index]),
                similarity=similarity,
            )
            for index, similarity in pairs
        ]
    )


def _nearest(result: ImageOutliers) -> fo.Detections:
    """Return the segments that outliers are most like, once each: with the outlier that is most like it."""
    boxes = result.segments.relative()
    best: dict[int, tuple[float, int]] = {}
    outliers = set(result.outliers.indices.tolist())
    rows = zip(
        result.outliers.indices.tolist(), result.nearest.tolist(), result.nearest_similarities.tolist(), strict=True
    )
    for outlier, others, similarities in rows:
        for index, similarity in zip(others, similarities, strict=True):
            if index not in outliers and similarity > best.get(index, (-np.inf, 0))[0]:
                best[index] = similarity, outlier
    return fo.Detections(
        detections=[
            fo.Detection(
                label=NEAREST,
                bounding_box=boxes[index].tolist(),
                index=index,
                outlier=outlier,
                distance=1 - similarity,
            )
            for index, (similarity, outlier) in best.items()
        ]
    )


def _dataset() -> fo.Dataset:
    """Return the dataset of trials; make it where it is absent.

    Raises:
        ValueError: if a dataset of that name is somebody else's
    """
    if fo.dataset_exists(DATASET):
        dataset = fo.load_dataset(DATASET)
        if dataset.info.get("made_by") != PLUGIN:
            raise ValueError(f"A dataset '{DATASET}' exists that is not one of trials; rename it")
        return dataset
    dataset = fo.Dataset(DATASET)
    dataset.info["made_by"] = PLUGIN
    dataset.save()
    for name, text in (
        (OUTLIERS, "fastdup's outlier segments: index, anomaly_score, similarity (fastdup's distance)"),
        (NEAREST, "The segments that outliers are most like: index, the outlier's index, distance (1 - similarity)"),
    ):
        dataset.add_sample_field(name, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections, description=text)
    dataset.add_sample_field("grid", fo.IntField, description="Segments a side")
    dataset.add_sample_field("embedder", fo.StringField, description="What the segments were compared by")
    dataset.app_config.active_fields = fo.ActiveFields(paths=[OUTLIERS, NEAREST])
    set_colours(dataset, [_colour(OUTLIERS, ANOMALOUS, _RED), _colour(NEAREST, NEAREST, _GREEN)])
    _replace_folder(dataset)
    return dataset


def _colour(path: str, label: str, colour: str) -> dict[str, Any]:
    by_label = [{"value": label, "color": colour}]
    return {"path": path, "fieldColor": colour, "colorByAttribute": "label", "valueColors": by_label}


def _uploads(dataset: fo.Dataset) -> Path:
    return dataset_folder(dataset) / "uploads"


def _replace_folder(dataset: fo.Dataset) -> None:
    """Remove the uploads of the dataset before this one, which FiftyOne has removed without them."""
    store = foo.ExecutionStore.create(_STORE)
    old, new = store.get(_FOLDER), _uploads(dataset)
    if isinstance(old, str) and Path(old) != new and Path(old).parts[-1:] == new.parts[-1:]:
        shutil.rmtree(old, ignore_errors=True)
    store.set(_FOLDER, str(new))
