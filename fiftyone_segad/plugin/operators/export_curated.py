"""Operator ``export_curated``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...curation.export import NORMAL_SPLITS, check_folder, export_curated
from ...errors import RunError
from ...registry.run import list_runs, load_run
from ...review.marks import list_marks
from ...utils.text import pluralize
from .. import execution, forms, times

FORMATS = {
    "MVTec": "MVTec folder: train/good, test/<defect>, ground_truth/<defect>",
    "FiftyOneDataset": "FiftyOne dataset, with everything",
    "COCODetectionDataset": "COCO, defects as instances",
    "ImageSegmentationDirectory": "Images and masks",
    "ImageClassificationDirectoryTree": "A folder a defect type, without masks",
}

_NONE = "none"


class ExportCurated(foo.Operator):
    """Exports reviewed images and masks."""

    @property
    def config(self) -> foo.OperatorConfig:
        return execution.config(
            "export_curated",
            "Anomalies: export curated images",
            "Images and masks with what was decided on them, as an MVTec folder or in another format",
            "drive_folder_upload",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        if forms.has_dataset(ctx, inputs):
            _add_inputs(ctx, inputs)
        return types.Property(inputs, view=types.View(label="Export curated images"))

    def resolve_execution_options(self, ctx: foo.ExecutionContext) -> foo.ExecutionOptions:
        """Offers delegated execution."""
        return foo.ExecutionOptions(allow_immediate_execution=True, allow_delegated_execution=True)

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        """Export."""
        samples, params = ctx.target_view(), ctx.params
        folder = forms.text(params, "folder")
        if folder is None:
            raise ValueError("folder is missing: name the folder to make")
        chosen = forms.text(params, "format", "MVTec") or "MVTec"
        if chosen not in FORMATS:
            raise ValueError(f"format={chosen!r} must be one of {list(FORMATS)}")
        overwrite = bool(params.get("overwrite", False))
        target = _folder(folder, overwrite)

        def work(progress: execution.Progress) -> dict[str, Any]:
            done = export_curated(
                samples,
                target,
                key=_named(params, "key"),
                gt_field=_named(params, "gt_field"),
                decision_field=_named(params, "decision_field"),
                dataset_type=None if chosen == "MVTec" else getattr(fo.types, chosen),
                normals=forms.text(params, "normal_split", "train") or "train",
                symlink=bool(params.get("symlink", False)),
                overwrite=overwrite,
                progress=progress,
            )
            return {
                "folder": str(done.folder),
                "images": done.images,
                "counts": "\n".join(f"{name}: {count}" for name, count in sorted(done.counts.items())),
                "without_mask": len(done.without_mask),
                "ids": [*done.without_mask, *(entry["id"] for entry in done.skipped)],
                "skipped": len(done.skipped),
                "messages": "\n".join(f"{entry['filepath']}: {entry['reason']}" for entry in done.skipped[:10]),
            }

        def after(result: dict[str, Any]) -> Iterator[Any]:
            if result["ids"]:
                yield ctx.ops.set_view(ctx.dataset.select(result["ids"]))

        return execution.execute(ctx, "export", work, _outputs, after)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        return _outputs(ctx.results)


def _add_inputs(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    dataset, params = ctx.dataset, ctx.params
    prop = inputs.str(
        "folder",
        required=True,
        label="Folder",
        description="Full path of a new folder, on the machine that runs the App",
    )
    folder = forms.text(params, "folder")
    if folder is not None:
        if Path(folder).expanduser().is_dir():
            inputs.bool("overwrite", default=False, label="Replace an earlier export in this folder")
        forms.invalid(prop, lambda: _folder(folder, bool(params.get("overwrite"))))
    formats = types.RadioGroup()
    for name, label in FORMATS.items():
        formats.add_choice(name, label=label)
    inputs.enum("format", formats.values(), default="MVTec", label="Format", view=formats)
    truths = forms.truth_choices(dataset)
    forms.choose(
        inputs,
        "gt_field",
        truths or [_NONE],
        "Masks",
        "Ground truth, or what came back from annotation",
        forms.usual_truth(truths) if truths else _NONE,
    )
    runs = list_runs(dataset)
    reviewed = [key for key in runs if list_marks(dataset, key)]
    forms.choose(
        inputs,
        "key",
        [_NONE, *runs],
        "Run",
        "Its marks are reviews; its predictions stand in where there is neither review nor ground truth",
        reviewed[-1] if reviewed else _NONE,
    )
    forms.choose(
        inputs,
        "decision_field",
        [_NONE, *_reviews(dataset)],
        "Reviews",
        "Field that says 'normal' or 'anomalous'; it comes before marks, ground truth and predictions",
        _NONE,
    )
    forms.choose(
        inputs, "normal_split", list(NORMAL_SPLITS), "Normal images", "Where those without a split go", NORMAL_SPLITS[0]
    )
    inputs.bool("symlink", default=False, label="Link to the images instead of copying them")
    inputs.view("count", types.Notice(label=_extent(ctx, reviewed[-1] if reviewed else _NONE)))


def _extent(ctx: foo.ExecutionContext, usual: str) -> str:
    """How many samples are exported, how long it takes, and how large the folder will be."""
    samples, params = ctx.target_view(), ctx.params
    label = f"Their files stay as they are. {pluralize(len(samples), 'sample')} will be exported"
    key = forms.text(params, "key", usual)
    try:
        run = None if key in (None, _NONE) else load_run(ctx.dataset, key)
    except (RunError, ValueError):
        return label
    gt_field, decision_field = (_named(params, name) for name in ("gt_field", "decision_field"))
    fields = forms.truth_choices(ctx.dataset)
    if "gt_field" not in params and fields:
        gt_field = forms.usual_truth(fields)
    return label + times.export(samples, gt_field, run, decision_field, bool(params.get("symlink")))


def _reviews(dataset: fo.Dataset) -> list[str]:
    """Fields that can hold reviews: texts and classifications that are nothing else."""
    kinds = {name: field for name, field in dataset.get_field_schema().items() if name not in _OTHERS}
    predictions = {f"{key}_pred" for key in list_runs(dataset)}
    return [
        name
        for name, field in kinds.items()
        if (isinstance(field, fo.StringField) or getattr(field, "document_type", None) is fo.Classification)
        and name not in predictions
    ]


_OTHERS = {"id", "filepath", "split", "category", "defect"}


def _named(params: dict[str, Any], name: str) -> str | None:
    value = forms.text(params, name)
    return None if value == _NONE else value


def _folder(folder: str, overwrite: bool) -> Path:
    if not Path(folder).expanduser().is_absolute():
        raise ValueError(f"folder='{folder}': give the full path of the folder")
    return check_folder(folder, overwrite)


def _outputs(result: dict[str, Any]) -> types.Property:
    form = types.Object()
    form.str("folder", label="Folder")
    form.int("images", label="Images")
    form.str("counts", label="By split and defect type", view=types.MarkdownView())
    if result.get("without_mask"):
        form.int("without_mask", label="Anomalous images without a mask (shown in the grid)")
    if result.get("skipped"):
        form.int("skipped", label="Left out (shown in the grid)")
    if result.get("messages"):
        form.str("messages", label="Please note", view=types.MarkdownView())
    label = "Exported. Next: 'Load an MVTec folder' on another machine, or train on it; manifest.json has the decisions"
    return forms.with_next_step(form, label)
