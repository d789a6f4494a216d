"""Operator ``rescore``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...registry.evaluations import stale_evaluations
from ...registry.keys import NORMAL
from ...registry.samples import all_slices
from ...review.marks import list_marks
from ...runs.rescore import ReviewReport, rescore
from ...utils.text import pluralize
from .. import execution, forms
from ..current_run import shown_fields
from .base import NOTES, Line, LongOperator, long_config, notes

_LISTED = 10
"""Images with lost defects that a result names."""


class Rescore(LongOperator):
    """Lets a run learn what was marked as normal."""

    config = long_config(
        "rescore",
        "rescore",
        "Learn what was marked as normal: scores, maps, masks, regions and thresholds follow",
        "autorenew",
    )
    outputs = (
        Line("marked", "Marks learnt"),
        Line("cleared", "Alarms gone"),
        Line("raised", "Alarms that are new"),
        Line("lost", "Defects that are found no more: undo their marks, or the tool learns to miss them", when="lost"),
        Line("lost_files", "Where they are", "markdown", when="lost"),
        NOTES,
    )

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        run = forms.load_chosen_run(ctx, inputs)
        if run is None:
            return
        if run.method != "reference":
            reason = f"A run by '{run.method}' has no bank that could learn; use one by 'reference'"
            forms.stop(inputs, "method", reason)
            return
        count = len(list_marks(ctx.dataset, run.key, NORMAL))
        label = f"{pluralize(count, 'mark says', 'marks say')} 'normal'; the run will know these, and no others"
        extent = f"{pluralize(run.scored, 'image')} will be scored again"
        inputs.view("marks", types.Notice(label=f"{label}. {extent}"))

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        dataset, key = ctx.dataset, forms.run_key(ctx)

        def work(progress: execution.Progress) -> dict[str, Any]:
            report = rescore(dataset, key, progress=progress)
            return {
                "key": key,
                "marked": report.marked,
                "cleared": len(report.cleared),
                "raised": len(report.raised),
                "lost": len(report.lost),
                "lost_files": _lost_files(dataset, report),
                "ids": list(dict.fromkeys([*report.lost_ids, *report.cleared])),
                "messages": notes([*report.run.warnings, *stale_evaluations(dataset, report.run)]),
            }

        def show(result: dict[str, Any]) -> Iterator[Any]:
            changed = all_slices(dataset).select(result["ids"], ordered=True) if result["ids"] else ctx.view
            fields = shown_fields(dataset, key, ctx.active_fields)
            yield from execution.show_fields(ctx, dataset, changed, fields)

        return self.run(ctx, f"rescoring of {key}", work, show, key)

    def next_step(self, result: dict[str, Any]) -> str:
        images = "the images with lost defects, then those whose" if result.get("lost") else "the images whose"
        return f"Run '{result.get('key')}' is rescored. The grid shows {images} alarms are gone"


def _lost_files(dataset: fo.Dataset, report: ReviewReport) -> str:
    """Name the images with lost defects, and how many each has lost."""
    images = all_slices(dataset).select(report.lost_ids[:_LISTED], ordered=True)
    lost = Counter(defect.sample_id for defect in report.lost)
    pairs = zip(*images.values(["id", "filepath"]), strict=True)
    return "\n\n".join(f"{path}: {pluralize(lost[id], 'defect')}" for id, path in pairs)
