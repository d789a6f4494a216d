"""Six scored pictures with ground truth, whose evaluation is all false alarms or all misses, as is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.evaluation.results import AnomalyResults

EVIL = "<script>alert(1)</script>"
EVIL_FILE = "<img src=x onerror=alert(1)>.png"

ALL_FLAGGED, NONE_FLAGGED = -100.0, 100.0
"""Thresholds."""


def mistaken_dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    """Make a dataset of four normal images and two defective ones, with names that would run in a careless page."""
    folder = pictures[0].parent
    paths = [pictures[0].rename(folder / EVIL_FILE), *pictures[1:]]
    mask = np.zeros((80, 96), np.uint8)
    mask[30:46, 40:56] = 255
    Image.fromarray(mask).save(folder / "large.png")
    Image.fromarray(np.where(np.indices(mask.shape).sum(axis=0) == 0, 255, 0).astype(np.uint8)).save(
        folder / "small.png"
    )
    masks = {4: "small.png", 5: "large.png"}
    truth = [fo.Segmentation(mask_path=str(folder / masks[i])) if i in masks else None for i in range(6)]
    kinds = [fo.Classification(label=EVIL if i in masks else "good") for i in range(6)]
    dataset = dataset_of(paths, defect=kinds)
    dataset.add_sample_field("defect_mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    dataset.set_values("defect_mask", truth)
    segad.compute_segment_anomalies(dataset, reference=dataset.limit(4), segments="tiles:0.4:0.2")
    return dataset


def evaluated(dataset: fo.Dataset, threshold: float) -> AnomalyResults:
    """Evaluate the dataset's run at a threshold."""
    segad.set_threshold(dataset, "segad", threshold)
    return segad.evaluate_anomalies(dataset)
