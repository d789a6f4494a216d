"""Operator ``rescore``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...errors import RunError
from ...registry.fields import NORMAL
from ...registry.run import load_run
from ...review.marks import list_marks
from ...runs.rescore import ReviewReport, rescore
from ...utils.text import pluralize
from .. import execution, forms, times

_SHOWN = 10


class Rescore(foo.Operator):
    """Lets a run learn what was marked as normal."""

    @property
    def config(self) -> foo.OperatorConfig:
        return execution.config(
            "rescore",
            "Anomalies: rescore",
            "Learn what was marked as normal: scores, maps, masks, regions and thresholds follow",
            "autorenew",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        key = forms.choose_run(ctx, inputs)
        if key is not None:
            _add_marks(ctx, inputs, key)
        return types.Property(inputs, view=types.View(label="Rescore"))

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        """Rescores, and shows the alarms that are gone."""
        dataset, key = ctx.dataset, forms.run_key(ctx)

        def work(progress: execution.Progress) -> dict[str, Any]:
            report = rescore(dataset, key, progress=progress)
            return {
                "key": key,
                "marked": report.marked,
                "cleared": len(report.cleared),
                "raised": len(report.raised),
                "lost": len(report.lost),
                "lost_files": _listed(dataset, report),
                "ids": list(dict.fromkeys([*report.lost_ids, *report.cleared])),
            }

        def after(result: dict[str, Any]) -> Iterator[Any]:
            yield ctx.ops.reload_dataset()
            if result["ids"]:
                yield ctx.ops.set_view(dataset.select(result["ids"], ordered=True))

        return execution.execute(ctx, f"rescoring of {key}", work, _outputs, after)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        return _outputs(ctx.results)


def _add_marks(ctx: foo.ExecutionContext, inputs: types.Object, key: str) -> None:
    try:
        run = load_run(ctx.dataset, key)
    except RunError as error:
        forms.stop(inputs, "gone", "The run cannot be changed", str(error))
        return
    if run.method != "reference":
        forms.stop(inputs, "method", f"A run by '{run.method}' has no bank that could learn; use one by 'reference'")
        return
    count = len(list_marks(ctx.dataset, key, NORMAL))
    marks = pluralize(count, "mark says", "marks say")
    label = f"{marks} 'normal'; the run will know these, and no others"
    extent = f"{pluralize(run.scored, 'image')} will be scored again{times.rescoring(ctx.dataset, run)}"
    inputs.view("marks", types.Notice(label=f"{label}. {extent}"))


def _listed(dataset: fo.Dataset, report: ReviewReport) -> str:
    """The images with lost defects, and how many each has lost."""
    chosen = dataset.select(report.lost_ids[:_SHOWN], ordered=True)
    lost = Counter(defect.sample_id for defect in report.lost)
    pairs = zip(*chosen.values(["id", "filepath"]), strict=True)
    return "\n\n".join(f"{path}: {pluralize(lost[id], 'defect')}" for id, path in pairs)


def _outputs(result: dict[str, Any]) -> types.Property:
    form = types.Object()
    form.int("marked", label="Marks learnt")
    form.int("cleared", label="Alarms gone")
    form.int("raised", label="Alarms that are new")
    if result.get("lost"):
        form.int("lost", label="Defects that are found no more: undo their marks, or the tool learns to miss them")
        form.str("lost_files", label="Where they are", view=types.MarkdownView())
    seen = "the images with lost defects, then those whose" if result.get("lost") else "the images whose"
    label = f"Run '{result.get('key')}' is rescored. The grid shows {seen} alarms are gone"
    return forms.with_next_step(form, label)
