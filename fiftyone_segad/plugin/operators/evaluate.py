"""Operator ``evaluate_anomalies``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...data.truth import GT_FIELD
from ...errors import RunError
from ...evaluation.evaluate import evaluate_anomalies
from ...evaluation.results import AnomalyResults
from ...metrics.names import METRIC_NAMES
from ...registry.run import check_eval_key, load_run
from ...utils.text import pluralize
from ...visualization.text import format_metric
from .. import execution, forms, times

_COLUMNS = ("category", "defect", "n_normal", "n_anomalous", "image_auroc", "pixel_auroc", "aupro_30", "recall")


class EvaluateAnomalies(foo.Operator):
    """Compares a run with ground-truth masks."""

    @property
    def config(self) -> foo.OperatorConfig:
        return execution.config(
            "evaluate_anomalies",
            "Anomalies: evaluate a run",
            "Compare scores and maps with ground-truth masks: AUROC, AUPRO, precision, recall",
            "fact_check",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        if (run := forms.choose_run(ctx, inputs)) is not None:
            forms.choose_truth(ctx, inputs)
            key = inputs.str("eval_key", label="Evaluation key", description="Keeps the result under this name")
            name = forms.text(ctx.params, "eval_key")
            if name is not None:
                inputs.bool("overwrite", default=False, label="Replace an evaluation of this name")
                forms.invalid(key, lambda: check_eval_key(ctx.dataset, name, bool(ctx.params.get("overwrite"))))
            inputs.view("count", types.Notice(label=_extent(ctx, run)))
        return types.Property(inputs, view=types.View(label="Evaluate a run"))

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        """Evaluate."""
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
            return {**_result(results), "eval_key": forms.text(params, "eval_key") or ""}

        def after(result: dict[str, Any]) -> Iterator[Any]:
            if params.get("eval_key"):
                yield ctx.ops.reload_dataset()

        return execution.execute(ctx, f"evaluation of {params.get('key', 'segad')}", work, _outputs, after)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        return _outputs(ctx.results)


def _extent(ctx: foo.ExecutionContext, key: str) -> str:
    """How many samples are evaluated, and how long it takes."""
    samples = ctx.target_view()
    label = f"{pluralize(len(samples), 'sample')}; those that the run did not score are left out"
    fields = forms.truth_choices(ctx.dataset)
    if not fields:
        return label
    gt_field = forms.text(ctx.params, "gt_field") or forms.usual_truth(fields)
    try:
        run = load_run(ctx.dataset, key)
    except RunError:
        return label
    return label + times.evaluation(samples, run, gt_field, bool(forms.text(ctx.params, "eval_key")))


def _result(results: AnomalyResults) -> dict[str, Any]:
    rows = results.rows()
    return {
        **{name: rows[-1][name] for name in METRIC_NAMES},
        "rows": [{name: format_metric(row[name]) for name in _COLUMNS} for row in rows],
        "report": results.report(),
        "messages": "\n\n".join(results.warnings),
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
    return forms.with_next_step(form, _next(result))


def _next(result: dict[str, Any]) -> str:
    if result.get("eval_key"):
        return f"Next: open '{result['eval_key']}' in the panel 'Model Evaluation', or the curves in 'Anomaly triage'"
    return (
        "Next: look at misses and false alarms in the panel 'Anomaly triage'; an evaluation key would keep the result"
    )
