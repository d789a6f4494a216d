"""Operator ``evaluate_anomalies``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types
from fiftyone.core.collections import SampleCollection as Samples

from ...data.truth import GT_FIELD
from ...evaluation.evaluate import evaluate_anomalies
from ...evaluation.results import AnomalyResults
from ...metrics.names import METRICS
from ...registry.keys import check_eval_key, evaluation_field, field_name
from ...registry.run import load_record
from ...review.triage import reference_ids
from ...utils.text import pluralize
from ...visualization.text import format_metric
from .. import execution, forms, paths
from ..target import target_samples
from .base import NOTES, Line, LongOperator, Table, long_config, notes

_COLUMNS = {
    "category": "Category",
    "defect": "Defect",
    **{
        name: METRICS[name][0]
        for name in ("n_normal", "n_anomalous", "image_auroc", "pixel_auroc", "aupro_30", "recall")
    },
}

_PART_FIGURES = {"part_auroc": "Part AUROC", "part_recall": "Part recall", "part_fpr": "Part false-positive rate"}

_REPORT = "-report.html"
"""Ends the name of a report in a folder that was picked."""


class EvaluateAnomalies(LongOperator):
    """Compares a run with ground-truth masks."""

    config = long_config(
        "evaluate_anomalies",
        "evaluate a run",
        "Compare scores and maps with ground-truth masks: AUROC, AUPRO, precision, recall",
        "fact_check",
    )
    outputs = (
        *(Line(f"{name}_text", title, "text", when=f"{name}_text") for name, (title, _) in METRICS.items()),
        *(Line(f"{name}_text", title, "text", when=f"{name}_text") for name, title in _PART_FIGURES.items()),
        Line("report_file", "Report", "text", when="report_file"),
        Table("rows", "Per kind of defect", _COLUMNS),
        NOTES,
    )

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        run = forms.load_chosen_run(ctx, inputs, load_record)
        if run is None:
            return
        if reference_ids(target_samples(ctx), run):
            about = "The run has seen these normal images; counted as test images they flatter it"
            inputs.bool("include_reference", default=False, label="Count reference images", description=about)
        if not _has_scored(ctx, inputs, run.key):
            return
        forms.choose_truth(ctx, inputs)
        prop = inputs.str("eval_key", label="Evaluation key", description="Keeps the result under this name")
        key = forms.text(ctx.params, "eval_key")
        if key is not None:
            inputs.bool("overwrite", default=False, label="Replace an evaluation of this name")
            forms.invalid(prop, lambda: check_eval_key(ctx.dataset, key, bool(ctx.params.get("overwrite"))))
        about = "Full path of an HTML file for people without FiftyOne; one that exists is replaced"
        file_name = f"{run.key}{_REPORT}"
        prop = paths.choose_path(ctx, inputs, "report_file", "Report", about, file_name=file_name, required=False)
        report = paths.path_of(ctx.params, "report_file", file_name)
        if report is not None:
            forms.invalid(prop, lambda: _report_file(report))

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        key = forms.run_key(ctx)
        gt_field = forms.text(ctx.params, "gt_field", GT_FIELD) or GT_FIELD
        eval_key, overwrite = forms.text(ctx.params, "eval_key"), bool(ctx.params.get("overwrite", False))
        samples = _tested_samples(ctx, key)
        report = paths.path_of(ctx.params, "report_file", f"{key}{_REPORT}")
        report_file = None if report is None else _report_file(report)

        def work(progress: execution.Progress) -> dict[str, Any]:
            results = evaluate_anomalies(samples, key, gt_field, eval_key, overwrite=overwrite, progress=progress)
            saved = "" if report_file is None else str(results.save_report(report_file))
            return {**_result(results), "eval_key": eval_key or "", "report_file": saved}

        def show(result: dict[str, Any]) -> Iterator[Any]:
            if eval_key is not None:
                fields = [evaluation_field(eval_key, name) for name in ("f1", "errors")]
                yield from execution.show_fields(ctx, ctx.dataset, ctx.view, [*ctx.active_fields, *fields])

        return self.run(ctx, f"evaluation of {key}", work, show, key)

    def next_step(self, result: dict[str, Any]) -> str:
        if key := result.get("eval_key"):
            return f"Next: open '{key}' in the panel 'Model Evaluation', or the curves in 'Anomaly triage'"
        return (
            "Next: look at misses and false alarms in the panel 'Anomaly triage'; an evaluation key would keep the "
            "result"
        )


def _report_file(path: str) -> Path:
    file = Path(path).expanduser()
    if not file.is_absolute() or file.suffix.lower() != ".html":
        raise ValueError(f"report_file='{path}': give the full path of a file that ends with .html")
    if file.is_dir() or not file.parent.is_dir():
        raise ValueError(f"report_file='{path}': its folder must exist, and no folder be of its name")
    return file


def _tested_samples(ctx: foo.ExecutionContext, key: str) -> Samples:
    """Return the samples to evaluate: without the images of the run's reference, unless they were asked for."""
    samples = target_samples(ctx)
    if ctx.params.get("include_reference", False):
        return samples
    return samples.exclude(list(reference_ids(samples, load_record(ctx.dataset, key))))


def _has_scored(ctx: foo.ExecutionContext, inputs: types.Object, key: str) -> bool:
    """Return whether the run has scored some of the samples, after saying how many, or that there are none."""
    samples = _tested_samples(ctx, key)
    scored = samples.count(field_name(key, "score"))
    if scored == 0:
        label = f"There are no test images in the view that run '{key}' has scored"
        forms.stop(
            inputs, "empty", label, "Clear its filters, score them ('Score new images'), or count reference ones"
        )
    else:
        label = f"{pluralize(scored, 'sample')} of {len(samples):,} will be evaluated: those that the run has scored"
        inputs.view("count", types.Notice(label=label))
    return scored > 0


def _part_figures(results: AnomalyResults) -> dict[str, Any]:
    """Return the figures of parts as texts; none if nothing was decided on them."""
    figures = {} if results.parts is None else results.parts.metrics()
    return {f"{name}_text": format_metric(figures[name]) for name in _PART_FIGURES if figures.get(name) is not None}


def _result(results: AnomalyResults) -> dict[str, Any]:
    """Return the figures of all images, as numbers and as texts, and those of each kind of defect as texts."""
    rows = results.rows()
    figures = {name: rows[-1][name] for name in METRICS}
    return {
        **figures,
        **{f"{name}_text": format_metric(value) for name, value in figures.items() if value is not None},
        "rows": [{name: format_metric(row[name]) for name in _COLUMNS} for row in rows],
        **_part_figures(results),
        "report": results.report(),
        "messages": notes(results.warnings),
    }
