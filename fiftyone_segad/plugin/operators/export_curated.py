"""Operator ``export_curated``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...curation.export import ANOMALIB, MVTEC, NORMAL_SPLITS, check_folder, export_curated
from ...registry.keys import list_runs, list_views
from ...registry.samples import all_slices
from ...review.marks import list_marks
from .. import execution, forms, paths
from ..target import target_samples
from .base import NOTES, Line, LongOperator, long_config, notes
from .decide_parts import name_fields

FORMATS = {
    "MVTec": "MVTec folder: train/good, test/<defect>, ground_truth/<defect>",
    "anomalib": "Folders for anomalib: normal, normal_test, abnormal, masks",
    "FiftyOneDataset": "FiftyOne dataset, with everything",
    "COCODetectionDataset": "COCO, defects as instances",
    "ImageSegmentationDirectory": "Images and masks",
    "ImageClassificationDirectoryTree": "A folder per defect type, without masks",
}

_LAYOUTS = {"MVTec": MVTEC, "anomalib": ANOMALIB}
"""Formats that are layouts of folders."""

_NONE = "none"

_NEW_FOLDER = "curated"
"""Name of the new folder in one that was picked."""

_NO_REVIEWS = {"id", "filepath", "split", "category", "defect"}
"""Fields of texts and classifications that hold no reviews."""


class ExportCurated(LongOperator):
    """Exports reviewed images and masks."""

    config = long_config(
        "export_curated",
        "export curated images",
        "Images and masks with what was decided on them, as an MVTec folder or in another format",
        "drive_folder_upload",
    )
    outputs = (
        Line("folder", "Folder", "text"),
        Line("images", "Images"),
        Line("counts", "By split and defect type", "markdown"),
        Line("without_mask", "Anomalous images without a mask (shown in the grid)", when="without_mask"),
        Line("skipped", "Left out (shown in the grid)", when="skipped"),
        NOTES,
    )

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        _add_folder(ctx, inputs)
        forms.choose_one(inputs, "format", FORMATS, "MVTec", "Format")
        _add_decisions(ctx.dataset, inputs)
        about = "Where those without a split go"
        forms.choose(inputs, "normal_split", NORMAL_SPLITS, "Normal images", about, NORMAL_SPLITS[0])
        inputs.bool("symlink", default=False, label="Link to the images instead of copying them")
        forms.has_images(ctx, inputs, "exported; their files stay as they are")

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        params = ctx.params
        folder = paths.path_of(params, "folder", _NEW_FOLDER)
        if folder is None:
            raise ValueError("folder is missing: name the folder to make")
        name = forms.one_of(params, "format", FORMATS, "MVTec")
        overwrite = bool(params.get("overwrite", False))
        options: dict[str, Any] = {
            **{name: _field(params, name) for name in ("key", "gt_field", "decision_field", "part_field")},
            "dataset_type": None if name in _LAYOUTS else getattr(fo.types, name),
            "layout": _LAYOUTS.get(name, MVTEC),
            "normals": forms.text(params, "normal_split", "train") or "train",
            "symlink": bool(params.get("symlink", False)),
            "overwrite": overwrite,
        }
        samples, target = target_samples(ctx), _folder(folder, overwrite)

        def work(progress: execution.Progress) -> dict[str, Any]:
            done = export_curated(samples, target, progress=progress, **options)
            return {
                "folder": str(done.folder),
                "images": done.images,
                "counts": "\n\n".join(f"{name}: {count}" for name, count in sorted(done.counts.items())),
                "without_mask": len(done.without_mask),
                "ids": [*done.without_mask, *(entry["id"] for entry in done.skipped)],
                "skipped": len(done.skipped),
                "messages": notes([], done.skipped),
            }

        def show(result: dict[str, Any]) -> Iterator[Any]:
            if result["ids"]:
                yield ctx.ops.set_view(all_slices(ctx.dataset).select(result["ids"]))

        return self.run(ctx, "export", work, show)

    def next_step(self, result: dict[str, Any]) -> str:
        return "Exported. Next: 'Load a folder' on another machine, or train on it; manifest.json has the decisions"


def _add_folder(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    about = "Full path of a new folder, on the machine that runs the App"
    prop = paths.choose_path(ctx, inputs, "folder", "Folder", about, file_name=_NEW_FOLDER)
    folder = paths.path_of(ctx.params, "folder", _NEW_FOLDER)
    if folder is not None:
        if Path(folder).expanduser().is_dir():
            inputs.bool("overwrite", default=False, label="Replace an earlier export in this folder")
        forms.invalid(prop, lambda: _folder(folder, bool(ctx.params.get("overwrite"))))


def _add_decisions(dataset: fo.Dataset, inputs: types.Object) -> None:
    """Add what says which images are normal, and where defects are."""
    truths = forms.truth_choices(dataset)
    about = "Ground truth, or what came back from annotation"
    usual = forms.usual_truth(truths) if truths else _NONE
    forms.choose(inputs, "gt_field", truths or [_NONE], "Masks", about, usual)
    runs = list_runs(dataset)
    reviewed = [key for key in runs if list_marks(dataset, key)]
    about = "Its marks are reviews; its predictions stand in where there is neither review nor ground truth"
    forms.choose(inputs, "key", [_NONE, *runs, *list_views(dataset)], "Run", about, reviewed[-1] if reviewed else _NONE)
    names = [name for name in name_fields(dataset) if name != "split"]
    about_parts = (
        "Field that is the same for pictures of one part, which go to one split; groups are parts by themselves"
    )
    forms.choose(inputs, "part_field", [_NONE, *names], "Part", about_parts, _NONE)
    about = "Field that says 'normal' or 'anomalous'; it comes before marks, ground truth and predictions"
    forms.choose(inputs, "decision_field", [_NONE, *_review_fields(dataset)], "Reviews", about, _NONE)


def _review_fields(dataset: fo.Dataset) -> list[str]:
    """List the fields that can hold reviews: texts and classifications that are nothing else."""
    others = _NO_REVIEWS | {f"{key}_pred" for key in list_runs(dataset)}
    return [
        name
        for name, field in dataset.get_field_schema().items()
        if name not in others
        and (isinstance(field, fo.StringField) or getattr(field, "document_type", None) is fo.Classification)
    ]


def _field(params: dict[str, Any], name: str) -> str | None:
    value = forms.text(params, name)
    return None if value == _NONE else value


def _folder(folder: str, overwrite: bool) -> Path:
    if not Path(folder).expanduser().is_absolute():
        raise ValueError(f"folder='{folder}': give the full path of the folder")
    return check_folder(folder, overwrite)
