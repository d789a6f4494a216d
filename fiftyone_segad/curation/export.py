"""``export_curated``: what was decided on samples as a folder that others can train on."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
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
from ..registry.keys import ANOMALOUS, list_runs
from ..registry.run import load_record
from ..registry.samples import check_collection
from ..review.marks import list_marks
from ..review.triage import reference_ids
from ..segments.boxes import relative_box
from ..segments.regions import connected_regions
from ..utils.files import read_json, replaced_folder, write_json
from ..utils.images import read_header
from ..utils.text import pluralize
from .decisions import Decisions, Undecided
from .folder_writer import AnomalibPlaces, Entry, MvtecPlaces, Places, write_folders
from .registration import ShowProgress

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
FORMAT = "fiftyone_segad export"

NORMAL_SPLITS = ("train", "validation", "test")

MVTEC, ANOMALIB = "mvtec", "anomalib"
_NAMES = {MVTEC: "MVTec", ANOMALIB: "anomalib Folder"}
"""Names of the layouts of folders in manifests."""


@dataclass(frozen=True)
class CuratedExport:
    """The outcome of an export.

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

    @classmethod
    def of(cls, folder: Path, entries: list[Entry], undecided: list[Undecided]) -> CuratedExport:
        """Count the entries of a manifest."""
        return cls(
            folder=folder,
            images=len(entries),
            counts=dict(Counter(f"{entry['split']}/{entry['label']}" for entry in entries)),
            without_mask=[e["id"] for e in entries if e["decision"] == ANOMALOUS and e["mask_from"] is None],
            skipped=[{"id": sample.id, "filepath": sample.filepath, "reason": sample.reason} for sample in undecided],
        )

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
    progress: ShowProgress = None,
    layout: str = MVTEC,
    **kwargs: Any,
) -> CuratedExport:
    """Export images with what was decided on them, as an MVTec folder, for anomalib or in any format of FiftyOne.

    Whether an image is normal is decided by its review (``decision_field``, else the marks of the run), else by its
    ground truth (a mask with a defect, or the defect type in ``defect``), else by the run's prediction. Its mask is the
    ground truth, else the one that the run predicted, without what was marked as normal and with what was marked as
    anomalous. The folder holds ``train/good``, ``validation/good``, ``test/<defect>`` and
    ``ground_truth/<defect>/<name>_mask.png``, in one folder per category if the samples have a ``category``;
    ``load_mvtec`` loads it back with the same images, masks, splits and defect types.
    Normal images stay in their split, anomalous ones go to ``test``, which is where MVTec has them. ``manifest.json``
    says of each image what was decided, by what, from which field its mask is, and who marked what, when and why.

    The folder appears complete or not at all. The samples and their files are not changed.

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
        layout ("mvtec"): ``anomalib`` for the folders that anomalib's ``Folder`` takes: ``normal`` (with a run ``key``
            the images that it compares with, else those to train on and validate on), ``normal_test``,
            ``abnormal/<defect>`` and ``masks/<defect>/<name>.png``, and ``abnormal_without_mask``, which it cannot
            take with the others. ``load_folder`` loads it back
        kwargs: for ``dataset_type``: further arguments of FiftyOne's ``export``, e.g. ``label_field``

    Raises:
        ValueError: if a parameter is wrong, the folder exists and may not be replaced, or no sample can be exported
        RunError: if what the dataset holds of the run is damaged
        OSError: if the folder cannot be written

    Examples:
        >>> print(segad.export_curated(dataset, "~/curated", key="segad"))  # doctest: +SKIP
        140 images exported to '/home/ada/curated'
          test/bent: 20
          test/good: 20
          train/good: 100
        >>> segad.export_curated(dataset, "~/folder", key="segad", layout="anomalib", symlink=True)  # doctest: +SKIP
    """
    plan = ExportPlan.checked(
        samples, folder, key, gt_field, decision_field, dataset_type, normals, symlink, overwrite, layout, kwargs
    )
    ids = plan.decisions.ids
    with replaced_folder(plan.target) as partial:
        with fou.ProgressBar(total=len(ids), progress=progress, iters_str="images") as bar:
            entries, undecided = write_folders(partial, plan.decisions, bar(ids), plan.places, plan.links)
        if plan.dataset_type is not None:
            entries = convert(partial, entries, plan)
        export = CuratedExport.of(plan.target, entries, undecided)
        write_json(partial / MANIFEST, plan.manifest(entries, export.skipped))
    return export


@dataclass(frozen=True)
class ExportPlan:
    """A checked request for an export.

    Attributes:
        target: the folder to make or replace
        decisions: decides on the samples
        places: the layout of the folder
        key, gt_field, decision_field, dataset_type, symlink, layout: as in ``export_curated``
        options: arguments of FiftyOne's ``export`` for ``dataset_type``
    """

    target: Path
    decisions: Decisions
    places: Places
    key: str | None
    gt_field: str | None
    decision_field: str | None
    dataset_type: type[fot.Dataset] | None
    symlink: bool
    layout: str
    options: dict[str, Any]

    @classmethod
    def checked(
        cls,
        samples: Samples,
        folder: str | Path,
        key: str | None,
        gt_field: str | None,
        decision_field: str | None,
        dataset_type: type[fot.Dataset] | None,
        normals: str,
        symlink: bool,
        overwrite: bool,
        layout: str,
        options: dict[str, Any],
    ) -> ExportPlan:
        """Check all that can be wrong before anything is written; the arguments are those of ``export_curated``.

        Raises:
            ValueError: if a parameter is wrong, or the folder exists and may not be replaced
            RunError: if what the dataset holds of the run is damaged
        """
        dataset = check_collection(samples, "samples")
        if normals not in NORMAL_SPLITS:
            raise ValueError(f"normals={normals!r} must be one of {list(NORMAL_SPLITS)}")
        if layout not in _NAMES:
            raise ValueError(f"layout={layout!r} must be one of {list(_NAMES)}")
        if layout != MVTEC and dataset_type is not None:
            raise ValueError(f"layout={layout!r} and a dataset_type are two formats; pass one of them")
        if options and dataset_type is None:
            raise ValueError(f"{sorted(options)} are arguments for a dataset_type; name one, or leave them out")
        if gt_field is None and GT_FIELD in truth_fields(dataset):
            gt_field = GT_FIELD
        run = None if key is None else load_record(dataset, key)
        if key is None and (unused := [name for name in list_runs(dataset) if list_marks(samples, name)]):
            logger.warning("The marks of %s are not used; pass key='%s' to export by them", unused, unused[-1])
        decisions = Decisions(samples, gt_field, run, decision_field)
        target = check_folder(folder, overwrite, _files(samples, gt_field))
        places: Places = MvtecPlaces(normals)
        if layout == ANOMALIB:
            places = AnomalibPlaces(normals, set() if run is None else reference_ids(samples, run))
        return cls(target, decisions, places, key, gt_field, decision_field, dataset_type, symlink, layout, options)

    @property
    def links(self) -> bool:
        """Whether images in the MVTec folder are links: those of a folder that is converted go with it."""
        return self.symlink or self.dataset_type is not None

    def manifest(self, entries: list[Entry], skipped: list[dict[str, str]]) -> dict[str, Any]:
        """Return the content of the file that says what was decided."""
        return {
            "format": FORMAT,
            "dataset_type": _NAMES[self.layout] if self.dataset_type is None else self.dataset_type.__name__,
            "run": self.key,
            "gt_field": self.gt_field,
            "decision_field": self.decision_field,
            "images": entries,
            "skipped": skipped,
        }


def check_folder(folder: str | Path, overwrite: bool, files: list[str] | None = None) -> Path:
    """Return the folder of an export, if it may be made or replaced.

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
