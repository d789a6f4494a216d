"""``export_curated``: what was decided on samples as a folder that others can train on."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import fiftyone.types as fot
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples

from ..data.mvtec import load_mvtec
from ..data.truth import GT_FIELD, Truth, read_truth, segmentation_fields, truth_fields
from ..registry.fields import ANOMALOUS
from ..registry.folders import dataset_folder
from ..registry.run import list_runs, load_run
from ..registry.samples import check_collection
from ..review.marks import list_marks
from ..segments.regions import connected_regions
from ..utils.images import read_header
from ..utils.text import pluralize
from ..utils.whole_files import read_json, write_json
from .decisions import Decisions, Undecided
from .mvtec_writer import MvtecFolder

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
FORMAT = "fiftyone_segad export"

NORMAL_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class CuratedExport:
    """What was exported.

    Attributes:
        folder: the folder
        images: number of images
        counts: number of images by split and defect type, as ``test/scratch``
        without_mask: sample ids of the anomalous images of which nothing says where the defect is
        skipped: ``{"id", "filepath", "reason"}`` of samples that are not in it
    """

    folder: Path
    images: int
    counts: dict[str, int]
    without_mask: list[str]
    skipped: list[dict[str, str]]

    def __str__(self) -> str:
        lines = [f"{pluralize(self.images, 'image')} exported to '{self.folder}'"]
        lines += [f"  {name}: {count}" for name, count in sorted(self.counts.items())]
        if self.without_mask:
            lines.append(
                f"  {pluralize(len(self.without_mask), 'anomalous image has', 'anomalous images have')} no mask"
            )
        lines += [f"  left out: {entry['filepath']}: {entry['reason']}" for entry in self.skipped[:5]]
        if len(self.skipped) > 5:
            lines.append(f"  ... {len(self.skipped)} left out")
        return "\n".join(lines)


def export_curated(
    samples: Samples,
    folder: str | Path,
    key: str | None = None,
    gt_field: str | None = None,
    decision_field: str | None = None,
    dataset_type: type[fot.Dataset] | None = None,
    normals: str = "train",
    symlink: bool = False,
    overwrite: bool = False,
    progress: bool | Callable[[Any], None] | None = None,
    **kwargs: Any,
) -> CuratedExport:
    """Export images with what was decided on them, as an MVTec folder or in any format of FiftyOne.

    Whether an image is normal is decided by its review (``decision_field``, else the marks of the run), else by its
    ground truth (a mask with a defect, or the defect type in ``defect``), else by the run's prediction. Its mask is the
    ground truth, else the one that the run predicted, without what was marked as normal and with what was marked as
    anomalous. The folder holds ``train/good``, ``validation/good``, ``test/<defect>`` and
    ``ground_truth/<defect>/<name>_mask.png``, in a folder a category if the samples have a ``category``;
    ``load_mvtec`` loads it back with the same images, masks, splits and defect types.
    Normal images stay in their split, anomalous ones go to ``test``, which is where MVTec has them. ``manifest.json``
    says of each image what was decided, by what, from which field its mask is, and who marked what, when and why.

    The folder appears whole or not at all. The samples and their files are not changed.

    Args:
        samples: the samples
        folder: the folder to make
        key (None): a run whose marks are reviews, and whose predictions stand in where there is no ground truth
        gt_field (None): field of masks, be it ground truth or what came back from annotation: Segmentation,
            Detections, Detection, Polylines or Polyline. By default ``defect_mask`` if there is one
        decision_field (None): field of reviews, text or Classification: ``normal`` or ``anomalous``
        dataset_type (None): a type of ``fiftyone.types`` to export as instead, such as ``COCODetectionDataset``. The
            exported dataset has ``defect`` (Classification), ``defect_mask`` (Segmentation), ``defect_regions``
            (Detections with instance masks, by defect type) and ``split``
        normals ("train"): split of normal images that have none: ``train``, ``validation`` or ``test``
        symlink (False): whether to link to images instead of copying them
        overwrite (False): whether to replace an earlier export. A folder without its manifest is never replaced
        progress (None): whether to show a progress bar, or a function that gets it
        kwargs: for ``dataset_type``: further arguments of FiftyOne's ``export``, e.g. ``label_field``

    Raises:
        ValueError: if a parameter is wrong, the folder exists and may not be replaced, or no sample can be exported
        RunError: if the run's files are gone
        OSError: if the folder cannot be written
    """
    dataset = check_collection(samples, "samples")
    if normals not in NORMAL_SPLITS:
        raise ValueError(f"normals={normals!r} must be one of {list(NORMAL_SPLITS)}")
    if kwargs and dataset_type is None:
        raise ValueError(f"{sorted(kwargs)} are arguments for a dataset_type; name one, or leave them out")
    if gt_field is None and GT_FIELD in truth_fields(dataset):
        gt_field = GT_FIELD
    run = None if key is None else load_run(dataset, key)
    if key is None and (unused := [each for each in list_runs(dataset) if list_marks(samples, each)]):
        logger.warning("The marks of %s are not used; pass key='%s' to export by them", unused, unused[-1])
    decisions = Decisions(samples, gt_field, run, decision_field)
    target = check_folder(folder, overwrite, _files(samples, gt_field))
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    skipped: list[Undecided] = []
    try:
        writer = MvtecFolder(partial, decisions.categorised, normals, symlink or dataset_type is not None)
        with fou.ProgressBar(total=len(decisions.ids), progress=progress, iters_str="images") as bar:
            for id in decisions.ids:
                decision = decisions.of(id)
                if isinstance(decision, Undecided):
                    skipped.append(decision)
                else:
                    writer.add(decision)
                bar.update(1)
        if not writer.entries:
            raise ValueError(
                f"None of the samples can be exported. The first: {skipped[0].filepath}: {skipped[0].reason}"
            )
        entries = writer.entries
        if dataset_type is not None:
            options = {"export_media": "symlink" if symlink else True, **kwargs}
            partial = _converted(partial, decisions, entries, dataset_type, options)
            entries = [{name: entry[name] for name in entry if name not in ("file", "mask")} for entry in entries]
        left_out = [{"id": each.id, "filepath": each.filepath, "reason": each.reason} for each in skipped]
        manifest = {
            "format": FORMAT,
            "dataset_type": "MVTec" if dataset_type is None else dataset_type.__name__,
            "run": key,
            "gt_field": gt_field,
            "decision_field": decision_field,
            "images": entries,
            "skipped": left_out,
        }
        write_json(partial / MANIFEST, manifest)
        _put_in_place(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return CuratedExport(
        folder=target,
        images=len(entries),
        counts=dict(Counter(f"{entry['split']}/{entry['label']}" for entry in entries)),
        without_mask=[e["id"] for e in entries if e["decision"] == ANOMALOUS and e["mask_from"] is None],
        skipped=left_out,
    )


def check_folder(folder: str | Path, overwrite: bool, files: list[str] | None = None) -> Path:
    """The folder of an export, if it may be made or replaced.

    Args:
        folder: the folder
        overwrite: whether an earlier export may be replaced
        files: files that must not be in it then

    Raises:
        ValueError: if it may not
    """
    target = Path(folder).expanduser().resolve()
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return target
    if not target.is_dir():
        raise ValueError(f"folder='{target}' is a file; name another folder")
    if not overwrite:
        raise ValueError(
            f"folder='{target}' is not empty; name another one, or pass overwrite=True to replace an export"
        )
    if (read_json(target / MANIFEST) or {}).get("format") != FORMAT:
        raise ValueError(f"folder='{target}' is not an export (it has no {MANIFEST} of one) and is not replaced")
    inside = [file for file in files or [] if target in Path(file).resolve().parents]
    if inside:
        raise ValueError(f"folder='{target}' holds files of the samples, such as '{inside[0]}'; name another folder")
    return target


def _files(samples: Samples, gt_field: str | None) -> list[str]:
    paths: list[str] = samples.values("filepath")
    if gt_field in segmentation_fields(samples):
        paths += [path for path in samples.values(f"{gt_field}.mask_path") if path]
    return paths


def _converted(
    folder: Path, decisions: Decisions, entries: list[dict[str, Any]], kind: type[fot.Dataset], options: dict[str, Any]
) -> Path:
    """Export an MVTec folder in a format of FiftyOne; returns the folder that takes its place."""
    converted = folder.with_name(folder.name + "-converted")
    dataset = load_mvtec(folder)
    try:
        by_file = {str(folder / entry["file"]): entry for entry in entries}
        ids = dict(zip(dataset.values("filepath"), dataset.values("id"), strict=True))
        regions, originals, tags = {}, {}, {}
        truths = read_truth(dataset, GT_FIELD)
        for path, entry in by_file.items():
            id = ids[path]
            originals[id] = os.path.realpath(path)
            tags[id] = entry["tags"]
            regions[id] = _regions(truths[id], path, entry["label"])
        dataset.set_values("defect_regions", regions, key_field="id")
        dataset.set_values("tags", tags, key_field="id")
        dataset.set_values("filepath", originals, key_field="id")
        if not decisions.categorised:
            dataset.delete_sample_field("category")
        fields = {
            fot.ImageSegmentationDataset: GT_FIELD,
            fot.ImageDetectionDataset: "defect_regions",
            fot.ImageClassificationDataset: "defect",
        }
        usual = next((field for base, field in fields.items() if issubclass(kind, base)), None)
        if usual is not None and "label_field" not in options:
            options["label_field"] = usual
        dataset.export(export_dir=str(converted), dataset_type=kind, progress=False, **options)
        return converted
    except BaseException:
        shutil.rmtree(converted, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(dataset_folder(dataset), ignore_errors=True)
        dataset.delete()
        shutil.rmtree(folder, ignore_errors=True)


def _regions(truth: Truth, path: str, label: str) -> fo.Detections:
    """The regions of a mask, each with its instance mask."""
    size = read_header(path).size
    mask = truth.read(size)
    regions = [] if mask is None else connected_regions(mask.astype(np.uint8), mask.astype(np.float32))
    made = []
    for region in regions:
        x0, y0, x1, y1 = region.box
        box = [x0 / size[0], y0 / size[1], (x1 - x0) / size[0], (y1 - y0) / size[1]]
        made.append(fo.Detection(label=label, bounding_box=box, mask=region.mask))
    return fo.Detections(detections=made)


def _put_in_place(partial: Path, target: Path) -> None:
    """Move a folder to its place; the one that was there goes when this has worked."""
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}-old")
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(partial, target)
    except BaseException:
        if old.exists():
            os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)
