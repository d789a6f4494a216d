"""``export_curated``: what was decided on samples as a folder that others can train on."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import fiftyone.types as fot
from fiftyone.core.collections import SampleCollection as Samples

from ..data.truth import GT_FIELD, segmentation_fields, truth_fields
from ..registry.keys import ANOMALOUS, list_runs
from ..registry.run import Run, load_record
from ..registry.samples import check_collection
from ..registry.views import read_views
from ..review.marks import list_marks
from ..review.triage import reference_ids
from ..utils.files import read_json, replaced_folder, write_json
from ..utils.text import pluralize
from .conversion import convert
from .decisions import Decisions, Undecided
from .folder_writer import AnomalibPlaces, Entry, MvtecPlaces, Places, write_folders
from .part_splits import joint_splits, read_part_names
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
    part_field: str | None = None,
    **kwargs: Any,
) -> CuratedExport:
    """Export images with what was decided on them, as an MVTec folder, for anomalib or in any format of FiftyOne.

    Whether an image is normal is decided by its review (``decision_field``, else the marks of the run), else by its
    ground truth (a mask with a defect, or the defect type in ``defect``), else by the run's prediction. Its mask is the
    ground truth, else the one that the run predicted, without what was marked as normal and with what was marked as
    anomalous. The folder holds ``train/good``, ``validation/good``, ``test/<defect>`` and
    ``ground_truth/<defect>/<name>_mask.png``, in one folder per category if the samples have a ``category``;
    ``load_mvtec`` loads it back with the same images, masks, splits and defect types.
    Normal images stay in their split, anomalous ones go to ``test``, which is where MVTec has them. Pictures of one
    part go together: to ``test`` if any of them does, else to ``validation`` if any of them does. ``manifest.json``
    says of each image what was decided, by what, from which field its mask is, and who marked what, when and why.

    The folder appears complete or not at all. The samples and their files are not changed.

    Args:
        samples: the samples
        folder: the folder to make
        key (None): a run whose marks are reviews, and whose predictions stand in where there is no ground truth; or the
            key of the runs of all slices
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
        part_field (None): field that tells parts. By default that by which parts of the run were decided, else the
            groups of a grouped dataset, if it is one; without these each image is a part of its own
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
        samples,
        folder,
        key,
        gt_field,
        decision_field,
        dataset_type,
        normals,
        symlink,
        overwrite,
        layout,
        part_field,
        kwargs,
    )
    ids = plan.decisions.ids
    with replaced_folder(plan.target) as partial:
        moved = joint_splits(plan.decisions, ids, plan.parts, plan.places)
        with fou.ProgressBar(total=len(ids), progress=progress, iters_str="images") as bar:
            entries, undecided = write_folders(partial, plan.decisions, bar(ids), plan.places, plan.links, moved)
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
        parts: the part that each sample shows, by id, as far as it is known
        key, gt_field, decision_field, dataset_type, symlink, layout: as in ``export_curated``
        options: arguments of FiftyOne's ``export`` for ``dataset_type``
    """

    target: Path
    decisions: Decisions
    places: Places
    parts: dict[str, str]
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
        part_field: str | None,
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
        runs = _load_runs(dataset, key)
        if key is None and (unused := [name for name in list_runs(dataset) if list_marks(samples, name)]):
            logger.warning("The marks of %s are not used; pass key='%s' to export by them", unused, unused[-1])
        decisions = Decisions(samples, gt_field, runs, decision_field)
        target = check_folder(folder, overwrite, _files(samples, gt_field))
        places: Places = MvtecPlaces(normals)
        if layout == ANOMALIB:
            places = AnomalibPlaces(normals, set().union(*(reference_ids(samples, run) for run in runs)))
        parts = read_part_names(samples, part_field, [run.key for run in runs])
        return cls(
            target, decisions, places, parts, key, gt_field, decision_field, dataset_type, symlink, layout, options
        )

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


def _load_runs(dataset: fo.Dataset, key: str | None) -> list[Run]:
    """Load the run of a key, or those of all slices that it stands for; none without a key."""
    if key is None:
        return []
    views = read_views(dataset, key)
    return [load_record(dataset, name) for name in ([key] if views is None else views.keys.values())]


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
