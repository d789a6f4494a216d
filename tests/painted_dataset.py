"""Eight pictures, some with red cells, whose predicted masks and ground truth are known pixel by pixel.

The pictures are cut into cells of 12 x 10 px; those with a red square are flagged, and their masks are these cells.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.registry.folders import dataset_folder
from fiftyone_segad.registry.keys import EVALUATION_FIELDS
from fiftyone_segad.segments.boxes import PixelBox, Size

FIELDS = {"checked", *(f"checked_{name}" for name in EVALUATION_FIELDS)}
"""Fields of an evaluation with the key ``checked``."""

FALSE_ALARM, MIXED, MISSED = 5, 6, 7  # images; the others are good
SIZES = [(96, 80)] * 4 + [(64, 48)] + [(96, 80)] * 3
OUTCOMES = ["TN"] * 5 + ["FP", "TP", "FN"]

RED: dict[int, list[PixelBox]] = {FALSE_ALARM: [(12, 10, 36, 20)], MIXED: [(24, 20, 48, 40), (72, 60, 84, 70)]}
TRUTH: dict[int, list[PixelBox]] = {MIXED: [(30, 20, 48, 40), (60, 5, 66, 10)], MISSED: [(40, 40, 52, 50)]}


def drawn(boxes: list[PixelBox], size: Size) -> NDArray[np.bool_]:
    """Draw a mask of boxes."""
    mask = np.zeros(size[::-1], bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def expected(index: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return predicted mask and ground truth of an image."""
    return drawn(RED.get(index, []), SIZES[index]), drawn(TRUTH.get(index, []), SIZES[index])


def painted_dataset(dataset_of: Callable[..., fo.Dataset], folder: Path) -> fo.Dataset:
    """Make a dataset of the pictures with their ground truth, scored beside the first four."""
    random = np.random.default_rng(7)
    paths = []
    for index, size in enumerate(SIZES):
        picture = random.integers(110, 130, (*size[::-1], 3), dtype=np.uint8)
        # Less red where it is no defect, so that defects exceed all normal images
        picture[expected(index)[0]] = (160, 100, 100) if index == FALSE_ALARM else (250, 20, 20)
        paths.append(folder / f"{index}.png")
        Image.fromarray(picture).save(paths[-1])
    dataset = dataset_of(paths)
    masks = [fo.Segmentation(mask=expected(i)[1].astype(np.uint8)) if i in TRUTH else None for i in range(8)]
    dataset.set_values("defect_mask", masks)
    compute(dataset)
    return dataset


def compute(dataset: fo.Dataset, **options: Any) -> segad.Run:
    """Score the dataset, by default cell by cell with a threshold that only red exceeds."""
    settings = {"reference": dataset.limit(4), "segments": "grid:8", "threshold": 0.05}
    return segad.compute_segment_anomalies(dataset, **{**settings, **options})


def pixels(label: fo.Segmentation) -> NDArray[np.uint8]:
    """Read the mask of a label from its file."""
    with Image.open(label.mask_path) as image:
        return np.asarray(image).astype(np.uint8)


def snapshot(dataset: fo.Dataset) -> dict[str, Any]:
    """Return all that the database holds of a dataset, and all files of this package for it and of its runs."""
    dataset.reload()
    passing = ("last_modified_at", "last_loaded_at", "_last_modified_at")
    samples = list(dataset._sample_collection.find().sort("_id"))
    configs = {key: dataset.get_run_info(key).config for key in dataset.list_runs()}
    folders = {
        dataset_folder(dataset),
        *(Path(config.folder) for config in configs.values() if hasattr(config, "folder")),
    }
    entries = {entry for folder in folders for entry in folder.rglob("*")}
    document = {name: value for name, value in dataset._doc.to_dict().items() if name not in passing}
    return {
        "dataset": document,
        "runs": {key: config.serialize() for key, config in configs.items()},
        "evaluations": {key: dataset.get_evaluation_info(key).config.serialize() for key in dataset.list_evaluations()},
        "samples": [{name: value for name, value in sample.items() if name not in passing} for sample in samples],
        "files": {str(entry): entry.read_bytes() for entry in entries if entry.is_file()},
        "folders": {str(entry) for entry in entries if entry.is_dir()},
    }
