"""One picture in the App: a dataset for trials, with its outlier segments, or what a run says of it, as labels.

The dataset is not persistent: FiftyOne removes it when nothing uses the database any more. Its folder goes when the
next one is made.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
from bson import ObjectId
from numpy.typing import NDArray
from PIL import Image

from ..embedders.factory import resolve_name
from ..engine.single_image import ImageOutliers, find_outlier_segments
from ..errors import ImageError
from ..registry.colours import GREEN, RED, set_colours
from ..registry.folders import dataset_folder
from ..registry.keys import ANOMALOUS, PLUGIN, list_runs
from ..registry.removal import delete_run
from ..registry.run import Run, load_run
from ..runs.save_bank import save_bank
from ..runs.score_new import score_new
from ..storage.bank_file import BANK_SETTING, BankFile
from ..utils.files import write_png
from ..utils.images import pixel_digest
from .current_run import set_current_run, shown_fields

DATASET = "segad-try"
"""Name of the dataset of trials."""

OUTLIERS, NEAREST = "outliers", "nearest"
"""Its fields of segments; the second is also the label of these."""

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


@dataclass(frozen=True)
class JudgedImage:
    """What a run says of one picture.

    Attributes:
        sample_id: the sample of the dataset ``DATASET`` that shows it
        run: the run of that dataset, with the normal images and the threshold of the run that was asked for
        score: its anomaly score
        regions: how many regions are predicted
        fields: fields that show it
    """

    sample_id: str
    run: Run
    score: float
    regions: int
    fields: list[str]


def save_upload(pixels: NDArray[np.uint8]) -> str:
    """Save an uploaded picture, a uint8 RGB array ``[height, width, 3]``, and return the file."""
    file = _uploads(_dataset()) / f"{pixel_digest(pixels)}.png"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_png(file, Image.fromarray(pixels), compress_level=1)
    return str(file)


def try_file(filepath: str, grid: int) -> TriedImage:
    """Find the outlier segments of a picture, of a sample of another dataset for instance, which stays as it is.

    The new sample of the dataset of trials shares its file. A second trial takes the place of the first one.

    Args:
        filepath: the file
        grid: segments a side

    Raises:
        ImageError: if the picture cannot be read
        ValueError: if the grid does not fit it
        MissingDependencyError: if no embedder is installed
    """
    dataset = _dataset()
    embedder = resolve_name("auto", "within_image")
    result = find_outlier_segments(filepath, f"grid:{grid}", embedder)
    sample = _sample(dataset, filepath)
    sample["grid"] = grid
    sample["embedder"] = embedder
    sample[OUTLIERS] = _outliers(result)
    sample[NEAREST] = _nearest(result)
    sample.save()
    dataset.app_config.active_fields = fo.ActiveFields(paths=[OUTLIERS, NEAREST])
    dataset.save()
    return TriedImage(sample.id, embedder, grid, result)


def try_against_run(samples: fo.Dataset, key: str, filepath: str) -> JudgedImage:
    """Score a picture with what a run compares with, at its threshold; the run and its dataset stay as they are.

    The dataset of trials gets a run of the same key, of the bank of that run.

    Args:
        samples: the run's dataset, which may be that of trials
        key: the run's key
        filepath: the file

    Raises:
        ValueError: if there is no such run, or it compares with no normal images
        RunError: if the run's files are gone, or the embedder gives other features than it did
        SegadError: if the picture cannot be scored
    """
    dataset = _dataset()
    run = load_run(samples, key)
    sample_id = str(_sample(dataset, filepath).id)
    view = dataset.select(sample_id)
    if samples.name == DATASET:
        score_new(view, key, progress=False)
    else:
        bank = _bank_of(dataset, samples, run)
        checksum = BankFile.read(bank).checksum
        if key in list_runs(dataset) and load_run(dataset, key).settings.get(BANK_SETTING) != checksum:
            delete_run(dataset, key)
        score_new(view, key, bank=bank, embedder=run.embedder, progress=False)
    dataset.reload()
    run, view = load_run(dataset, key), dataset.select(sample_id)
    (score,) = view.values(run.field("score"))
    if score is None:
        raise ImageError("".join(entry["reason"] for entry in run.skipped if entry["id"] == sample_id))
    fields = shown_fields(dataset, key)
    set_current_run(dataset, key)
    dataset.app_config.active_fields = fo.ActiveFields(paths=fields)
    dataset.save()
    return JudgedImage(sample_id, run, score, view.count(f"{run.field('regions')}.detections"), fields)


def _bank_of(dataset: fo.Dataset, samples: fo.Dataset, run: Run) -> Path:
    """Return the bank of a run as a file among those of the trials, saved anew once the run has changed."""
    state = sha256(f"{run.folder} {run.masks} {run.thresholds} {run.settings}".encode()).hexdigest()[:16]
    file = dataset_folder(dataset) / "banks" / f"{state}.safetensors"
    if not file.is_file():
        shutil.rmtree(file.parent, ignore_errors=True)  # those of other runs, or of this one as it was
        file.parent.mkdir(parents=True)
        save_bank(samples, run.key, file)
    return file


def _sample(dataset: fo.Dataset, filepath: str) -> fo.Sample:
    """Return the sample of a file, which is added where there is none."""
    earlier = dataset.match({"filepath": filepath}).values("id")
    if earlier:
        return dataset[earlier[0]]
    sample = fo.Sample(filepath=filepath)
    dataset.add_sample(sample)
    return sample


def set_pending(sample_id: str) -> None:
    """Note the sample that is to be shown as soon as the App has opened the dataset of trials."""
    foo.ExecutionStore.create(_STORE).set(_PENDING, sample_id, ttl=_TTL)


def take_pending() -> str | None:
    """Return the sample that is waiting to be shown, once."""
    store = foo.ExecutionStore.create(_STORE)
    sample_id: str | None = store.get(_PENDING)
    store.delete(_PENDING)
    return sample_id


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
    set_colours(dataset, [_colour(OUTLIERS, ANOMALOUS, RED), _colour(NEAREST, NEAREST, GREEN)])
    _replace_folder(dataset)
    return dataset


def _colour(path: str, label: str, colour: str) -> dict[str, Any]:
    by_label = [{"value": label, "color": colour}]
    return {"path": path, "fieldColor": colour, "colorByAttribute": "label", "valueColors": by_label}


def _uploads(dataset: fo.Dataset) -> Path:
    return dataset_folder(dataset) / "uploads"


def _replace_folder(dataset: fo.Dataset) -> None:
    """Remove the files of the dataset before this one, which FiftyOne has removed without them."""
    store = foo.ExecutionStore.create(_STORE)
    saved, new = store.get(_FOLDER), dataset_folder(dataset)
    old = Path(saved) if isinstance(saved, str) else new
    if old != new and old.parent == new.parent and ObjectId.is_valid(old.name):
        shutil.rmtree(old, ignore_errors=True)
    store.set(_FOLDER, str(new))
