"""Operator ``evaluate_anomalies``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..evaluate import METRIC_NAMES, AnomalyResults, evaluate_anomalies, format_metric
from ..runs import check_eval_key, field_name, list_runs
from ..truth import GT_FIELD, segmentation_fields
from . import execution, forms

_COLUMNS = ("category", "defect", "n_normal", "n_anomalous", "image_auroc", "pixel_auroc", "aupro_30", "recall")


class EvaluateAnomalies(foo.Operator):
    """Compares a run with ground-truth masks."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="evaluate_anomalies",
            label="Anomalies: evaluate a run",
            description="Compare scores and maps with ground-truth masks: AUROC, AUPRO, precision, recall",
            icon="fact_check",
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        if ctx.dataset is None:
            forms.stop(inputs, "no_dataset", "Open a dataset first")
        elif forms.choose_run(ctx, inputs) is not None:
            count = len(ctx.target_view())
            fields = _truth_fields(ctx.dataset)
            if not fields:
                forms.stop(inputs, "no_truth", "The dataset has no Segmentation field with ground truth")
            else:
                default = GT_FIELD if GT_FIELD in fields else fields[0]
                forms.choose(
                    inputs, "gt_field", fields, "Ground truth", "Images without a mask count as normal", default
                )
            key = inputs.str("eval_key", label="Evaluation key", description="Keeps the result under this name")
            name = forms.text(ctx.params, "eval_key")
            if name is not None:
                inputs.bool("overwrite", default=False, label="Replace an evaluation of this name")
                forms.invalid(key, lambda: check_eval_key(ctx.dataset, name, bool(ctx.params.get("overwrite"))))
            inputs.view("count", types.Notice(label=f"{count} samples; those that the run did not score are left out"))
        return types.Property(inputs, view=types.View(label="Evaluate a run"))

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        """Evaluates."""
        samples, params = ctx.target_view(), ctx.params

        def work(progress: execution.Progress) -> dict[str, Any]:
            results = evaluate_anomalies(
                samples,
                key=forms.text(params, "key", "segad") or "segad",
                gt_field=forms.text(params, "gt_field", GT_FIELD) or GT_FIELD,
                eval_key=forms.text(params, "eval_key"),
                overwrite=bool(params.get("overwrite", False)),
                progress=progress,
            )
            return _result(results)

        def after(result: dict[str, Any]) -> Iterator[Any]:
            if params.get("eval_key"):
                yield ctx.ops.reload_dataset()

        return execution.execute(ctx, f"evaluation of {params.get('key', 'segad')}", work, _outputs, after)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        return _outputs(ctx.results)


def _truth_fields(dataset: fo.Dataset) -> list[str]:
    """Names of the Segmentation fields that are not predictions of a run."""
    predicted = {field_name(key, "mask") for key in list_runs(dataset)}
    return [name for name in segmentation_fields(dataset) if name not in predicted]


def _result(results: AnomalyResults) -> dict[str, Any]:
    rows = results.rows()
    return {
        **{name: rows[-1][name] for name in METRIC_NAMES},
        "rows": [{name: format_metric(row[name]) for name in _COLUMNS} for row in rows],
        "report": results.report(),
        "messages": "\n".join(results.warnings),
    }


def _outputs(result: dict[str, Any]) -> types.Property:
    form = types.Object()
    for name in METRIC_NAMES:
        if result.get(name) is not None:
            number = form.int if name.startswith("n_") else form.float
            number(name, label=name)
    row = types.Object()
    table = types.TableView()
    for name in _COLUMNS:
        row.str(name)
        table.add_column(name, label=name)
    form.list("rows", row, label="Per defect type", view=table)
    if result.get("messages"):
        form.str("messages", label="Please note", view=types.MarkdownView())
    return types.Property(form, view=types.View(label="Evaluation"))
