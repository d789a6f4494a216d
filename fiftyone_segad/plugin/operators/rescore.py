"""Operator ``rescore``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...registry.evaluations import stale_evaluations
from ...registry.keys import ANOMALOUS, NORMAL
from ...registry.samples import all_slices
from ...review.lost_defects import LostDefect
from ...review.marks import list_marks
from ...runs.rescore import rescore
from ...scoring import IMPORTED
from ...utils.text import pluralize
from .. import execution, forms, zones
from ..slices import load_chosen_runs, runs_of, shown_of_runs
from .base import NOTES, Line, LongOperator, long_config, notes

_LISTED = 10
"""Images with defects that a result names."""


class Rescore(LongOperator):
    """Lets a run learn what was marked."""

    config = long_config(
        "rescore",
        "rescore",
        "Learn what was marked, and follow changed zones: scores, maps, masks, regions and thresholds",
        "autorenew",
    )
    outputs = (
        Line("marked", "Marks learnt"),
        Line("cleared", "Alarms gone"),
        Line("raised", "Alarms that are new"),
        Line("found", "Defects that were missed and are found now", when="found"),
        Line("found_files", "Where these are", "markdown", when="found"),
        Line("lost", "Defects that are found no more: undo their marks, or the tool learns to miss them", when="lost"),
        Line("lost_files", "Where they are", "markdown", when="lost"),
        NOTES,
    )

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        runs = load_chosen_runs(ctx, inputs)
        if runs is None:
            return
        run = next(iter(runs.values()))  # those of slices are by the same method, with zones of the same field
        if run.method != IMPORTED:
            zones.add_zones(ctx, inputs, run.zones)
        if run.method != "reference":
            if run.zones is None and zones.chosen(ctx.params, "zones") is None:
                reason = f"A run by '{run.method}' has no bank that could learn; use one by 'reference'"
                forms.stop(inputs, "method", reason)
            return
        keys = [run.key for run in runs.values()]
        counts = [sum(len(list_marks(ctx.dataset, key, label)) for key in keys) for label in (NORMAL, ANOMALOUS)]
        label = f"{pluralize(counts[0], 'mark says', 'marks say')} 'normal' and {counts[1]} 'anomalous'"
        label += "; the run will know these, and no others"
        if not any(counts):
            label = "There are no marks: scores will be those that the run began with. Mark images in the panel first"
        extent = f"{pluralize(sum(run.scored for run in runs.values()), 'image')} will be scored again"
        inputs.view("marks", types.Notice(label=f"{label}. {extent}"))

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        dataset, key = ctx.dataset, forms.run_key(ctx)
        field = zones.chosen(ctx.params, "zones")
        zones_from = zones.chosen(ctx.params, "zones_from") if field is not None else None

        def work(progress: execution.Progress) -> dict[str, Any]:
            report = rescore(dataset, key, progress=progress, zones=field, zones_from=zones_from)
            return {
                "key": key,
                "marked": report.marked,
                "cleared": len(report.cleared),
                "raised": len(report.raised),
                "lost": len(report.lost),
                "lost_files": _files(dataset, report.lost),
                "found": len(report.found),
                "found_files": _files(dataset, report.found),
                "ids": list(dict.fromkeys([*report.lost_ids, *report.found_ids, *report.cleared, *report.raised])),
                "messages": notes(_warnings(dataset, key)),
            }

        def show(result: dict[str, Any]) -> Iterator[Any]:
            changed = all_slices(dataset).select(result["ids"], ordered=True) if result["ids"] else ctx.view
            fields = shown_of_runs(dataset, key, ctx.active_fields)
            yield from execution.show_fields(ctx, dataset, changed, fields)

        return self.run(ctx, f"rescoring of {key}", work, show, key)

    def next_step(self, result: dict[str, Any]) -> str:
        if not result.get("ids"):
            return f"Run '{result.get('key')}' is rescored. No alarm is gone or new"
        first = "images with lost defects first, " if result.get("lost") else ""
        return f"Run '{result.get('key')}' is rescored. The grid shows {first}the images whose alarms are gone or new"


def _warnings(dataset: fo.Dataset, key: str) -> list[str]:
    """Return the warnings of a run, or of those of all slices, and which of their evaluations are stale."""
    warnings = []
    for name, run in runs_of(dataset, key).items():
        texts = [*run.warnings, *stale_evaluations(dataset, run)]
        warnings += [f"{name}: {text}" if name else text for text in texts]
    return warnings


def _files(dataset: fo.Dataset, defects: list[LostDefect]) -> str:
    """Name the images with some defects, and how many each has."""
    counts = Counter(defect.sample_id for defect in defects)
    images = all_slices(dataset).select(list(counts)[:_LISTED], ordered=True)
    pairs = zip(*images.values(["id", "filepath"]), strict=True)
    return "\n\n".join(f"{path}: {pluralize(counts[id], 'defect')}" for id, path in pairs)
