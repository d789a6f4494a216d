"""Operator ``compare_runs``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...data.truth import GT_FIELD
from ...evaluation.compare import BROKEN, FIXED, RunComparison, compare_runs
from ...metrics.names import METRICS
from ...registry.keys import list_runs
from ...visualization.text import format_metric
from .. import execution, forms
from ..target import target_samples
from .base import Line, LongOperator, Table, long_config


class CompareRuns(LongOperator):
    """Compares two runs on the ground truth."""

    config = long_config(
        "compare_runs",
        "compare runs",
        "Compare two runs on the same images: their figures, and what one has right and the other wrong",
        "compare",
        risk_level=types.RiskLevel.LOW,
    )
    outputs = (
        Line("fixed", "Images that only '{key}' has right"),
        Line("broken", "Images that only '{baseline}' has right"),
        Line("left_out", "Images that not both have scored", when="left_out"),
        Table("rows", "Figures", {"figure": "", "baseline": "Baseline", "run": "Run", "difference": "Difference"}),
    )

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        runs = list_runs(ctx.dataset)
        if len(runs) < 2:
            forms.stop(inputs, "one_run", "There are no two runs to compare", "Compute another one first")
            return
        key = forms.choose_run(ctx, inputs)
        others = [run for run in runs if run != key]
        forms.choose(inputs, "baseline", others, "Baseline", "The run that it is compared with", others[-1])
        forms.choose_truth(ctx, inputs)

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        key = forms.run_key(ctx)
        others = [run for run in list_runs(ctx.dataset) if run != key]
        if not others:
            raise ValueError(f"There is no run to compare '{key}' with; compute another one first")
        baseline = forms.one_of(ctx.params, "baseline", others, others[-1])
        gt_field = forms.text(ctx.params, "gt_field", GT_FIELD) or GT_FIELD
        samples = target_samples(ctx)

        def work(progress: execution.Progress) -> dict[str, Any]:
            return _result(compare_runs(samples, [baseline, key], gt_field, progress), key, baseline)

        def show(result: dict[str, Any]) -> Iterator[Any]:
            if result["changed"]:
                yield ctx.ops.set_view(samples.select(result["changed"], ordered=True))

        return self.run(ctx, f"comparison of {key}", work, show, key)

    def next_step(self, result: dict[str, Any]) -> str:
        return "Next: look at the images on which they differ, which the grid shows: those that got right come first"


def _result(comparison: RunComparison, key: str, baseline: str) -> dict[str, Any]:
    changed = comparison.differences(key, baseline)
    after, before = (comparison.results[run].metrics() for run in (key, baseline))
    differences = comparison.paired_bootstrap(key, baseline)
    return {
        "key": key,
        "baseline": baseline,
        "fixed": len(changed[FIXED]),
        "broken": len(changed[BROKEN]),
        "left_out": comparison.left_out,
        "changed": [*changed[FIXED], *changed[BROKEN]],
        "rows": [
            {
                "figure": title,
                "baseline": format_metric(before[name]),
                "run": format_metric(after[name]),
                "difference": f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]" if (d := differences.get(name)) else "",
            }
            for name, (title, _) in METRICS.items()
            if after[name] is not None or before[name] is not None
        ],
    }
