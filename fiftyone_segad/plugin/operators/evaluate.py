"""Operator ``evaluate_anomalies``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...data.truth import GT_FIELD
from ...evaluation.evaluate import evaluate_anomalies
from ...evaluation.results import AnomalyResults
from ...metrics.names import METRICS
from ...registry.keys import check_eval_key
from ...utils.text import pluralize
from ...visualization.text import format_metric
from .. import execution, forms
from .base import NOTES, Line, LongOperator, Table, long_config, notes

_COLUMNS = {
    "category": "Category",
    "defect": "Defect",
    **{
        name: METRICS[name][0]
        for name in ("n_normal", "n_anomalous", "image_auroc", "pixel_auroc", "aupro_30", "recall")
    },
}


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
        Table("rows", "Per kind of defect", _COLUMNS),
        NOTES,
    )

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        if forms.choose_run(ctx, inputs) is None:
            return
        forms.choose_truth(ctx, inputs)
        prop = inputs.str("eval_key", label="Evaluation key", description="Keeps the result under this name")
        key = forms.text(ctx.params, "eval_key")
        if key is not None:
            inputs.bool("overwrite", default=False, label="Replace an evaluation of this name")
            forms.invalid(prop, lambda: check_eval_key(ctx.dataset, key, bool(ctx.params.get("overwrite"))))
        count = pluralize(self.images(ctx), "sample")
        inputs.view("count", types.Notice(label=f"{count}; those that the run did not score are left out"))

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        key = forms.text(ctx.params, "key", "segad") or "segad"
        gt_field = forms.text(ctx.params, "gt_field", GT_FIELD) or GT_FIELD
        eval_key, overwrite = forms.text(ctx.params, "eval_key"), bool(ctx.params.get("overwrite", False))
        samples = ctx.target_view()

        def work(progress: execution.Progress) -> dict[str, Any]:
            results = evaluate_anomalies(samples, key, gt_field, eval_key, overwrite=overwrite, progress=progress)
            return {**_result(results), "eval_key": eval_key or ""}

        def show(result: dict[str, Any]) -> Iterator[Any]:
            if eval_key is not None:
                yield ctx.ops.reload_dataset()

        return self.run(ctx, f"evaluation of {key}", work, show)

    def next_step(self, result: dict[str, Any]) -> str:
        if key := result.get("eval_key"):
            return f"Next: open '{key}' in the panel 'Model Evaluation', or the curves in 'Anomaly triage'"
        return (
            "Next: look at misses and false alarms in the panel 'Anomaly triage'; an evaluation key would keep the "
            "result"
        )


def _result(results: AnomalyResults) -> dict[str, Any]:
    """Return the figures of all images, as numbers and as texts, and those of each kind of defect as texts."""
    rows = results.rows()
    figures = {name: rows[-1][name] for name in METRICS}
    return {
        **figures,
        **{f"{name}_text": format_metric(value) for name, value in figures.items() if value is not None},
        "rows": [{name: format_metric(row[name]) for name in _COLUMNS} for row in rows],
        "report": results.report(),
        "messages": notes(results.warnings),
    }
