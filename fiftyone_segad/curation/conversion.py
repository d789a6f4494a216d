"""Turn an exported folder in MVTec layout into a format of FiftyOne."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import fiftyone as fo
import fiftyone.types as fot
import numpy as np

from ..data.mvtec import load_mvtec
from ..data.truth import GT_FIELD, Truth, read_truth
from ..segments.boxes import relative_box
from ..segments.regions import connected_regions
from ..utils.images import read_header
from .folder_writer import Entry

if TYPE_CHECKING:
    from .export import ExportPlan


def convert(folder: Path, entries: list[Entry], plan: ExportPlan) -> list[Entry]:
    """Turn an MVTec folder into one in the format of ``plan.dataset_type``; return the entries that fit it."""
    mvtec = folder.with_name(f"{folder.name}-mvtec")
    os.replace(folder, mvtec)
    try:
        dataset = load_mvtec(mvtec)
        try:
            _add_fields(dataset, mvtec, entries)
            if not plan.decisions.categorised:
                dataset.delete_sample_field("category")
            media = "symlink" if plan.symlink else True
            options = {"export_media": media, **_label_field(plan.dataset_type), **plan.options}
            dataset.export(export_dir=str(folder), dataset_type=plan.dataset_type, progress=False, **options)
        finally:
            dataset.delete()
        _copy_links_into(folder, mvtec)
    finally:
        shutil.rmtree(mvtec, ignore_errors=True)
    return [{name: entry[name] for name in entry if name not in ("file", "mask")} for entry in entries]


def _add_fields(dataset: fo.Dataset, folder: Path, entries: list[Entry]) -> None:
    """Give the dataset of an MVTec folder regions, the samples' tags, and the original images as its media."""
    ids = dict(zip(dataset.values("filepath"), dataset.values("id"), strict=True))
    truths = read_truth(dataset, GT_FIELD)
    regions, originals, tags = {}, {}, {}
    for entry in entries:
        path = str(folder / entry["file"])
        id = ids[path]
        originals[id] = os.path.realpath(path)
        tags[id] = entry["tags"]
        regions[id] = _regions(truths[id], path, entry["label"])
    dataset.set_values("defect_regions", regions, key_field="id")
    dataset.set_values("tags", tags, key_field="id")
    dataset.set_values("filepath", originals, key_field="id")


def _copy_links_into(folder: Path, temporary: Path) -> None:
    """Replace links into a folder that will be gone by copies of the files: those of masks."""
    for link in [path for path in folder.rglob("*") if path.is_symlink()]:
        file = link.resolve()
        if temporary in file.parents:
            link.unlink()
            shutil.copyfile(file, link)


def _label_field(dataset_type: type[fot.Dataset] | None) -> dict[str, str]:
    """Return the argument that names the usual labels of a format, if it takes labels of one kind."""
    fields = {
        fot.ImageSegmentationDataset: GT_FIELD,
        fot.ImageDetectionDataset: "defect_regions",
        fot.ImageClassificationDataset: "defect",
    }
    names = [name for kind, name in fields.items() if dataset_type is not None and issubclass(dataset_type, kind)]
    return {"label_field": names[0]} if names else {}


def _regions(truth: Truth, path: str, label: str) -> fo.Detections:
    """Cut a mask into its regions, each with its instance mask."""
    size = read_header(path).size
    mask = truth.read(size)
    regions = [] if mask is None else connected_regions(mask.astype(np.uint8), mask.astype(np.float32))
    return fo.Detections(
        detections=[
            fo.Detection(label=label, bounding_box=list(relative_box(region.box, size)), mask=region.mask)
            for region in regions
        ]
    )
