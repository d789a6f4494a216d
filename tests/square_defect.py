"""Six pictures of which the last has a defect, a bright square, and its ground truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.segments.maps import anomaly_map


def square() -> NDArray[np.bool_]:
    """Return the mask of the defect."""
    mask = np.zeros((80, 96), bool)
    mask[30:46, 40:56] = True
    return mask


def square_label() -> fo.Segmentation:
    """Return the mask as a label that is kept in the database."""
    return fo.Segmentation(mask=square().astype(np.uint8))


def square_dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    """Make a dataset of the pictures with their ground truth, scored beside the first four."""
    dataset = dataset_of(pictures)
    mask_file = pictures[-1].with_name("mask.png")
    Image.fromarray(np.where(square(), 255, 0).astype(np.uint8)).save(mask_file)
    dataset.add_sample_field("defect_mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    dataset.set_values("defect_mask", [None] * 5 + [fo.Segmentation(mask_path=str(mask_file))])
    segad.compute_segment_anomalies(dataset, reference=dataset.limit(4), segments="tiles:0.4:0.2")
    return dataset


def maps_of(samples: fo.Dataset | fo.DatasetView) -> NDArray[np.float32]:
    """Return the anomaly maps of the samples, in their order."""
    records = {record.id: record for record in segad.load_run(samples, "segad").store.scores}
    return np.stack([anomaly_map(records[id].segments, records[id].scores) for id in samples.values("id")])


def types(*names: str | None) -> list[fo.Classification | None]:
    """Return labels of kinds of defects."""
    return [None if name is None else fo.Classification(label=name) for name in names]
