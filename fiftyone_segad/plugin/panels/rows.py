"""Rows of buttons of the panel: counts, views and the review. Two rows each where one would not fit."""

from __future__ import annotations

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...registry.run import list_runs
from ...review.triage import ScoreTable
from ...utils.text import pluralize
from .activity import Handler

URI = "@segad/anomaly/"

_OUTCOMES = {
    "TP": ("hit", "hits"),
    "FP": ("false alarm", "false alarms"),
    "FN": ("miss", "misses"),
    "TN": ("good passed", "good passed"),
}


def add_counts(panel: types.Object, triage: ScoreTable, threshold: float, show: Handler) -> None:
    """Add the counts at a threshold, each a button that shows its images; with truth, the rates as well."""
    row = panel.h_stack("counts", gap=1)
    flagged = triage.flagged(threshold)
    row.btn("flagged", label=f"{flagged:,} flagged", on_click=show, params={"choice": "flagged"})
    if not triage.labelled:
        return
    counts = triage.confusion(threshold)
    for i, (name, words) in enumerate(_OUTCOMES.items()):
        if i == 2:
            row = panel.h_stack("more_counts", gap=1)
        row.btn(name, label=pluralize(getattr(counts, name.lower()), *words), on_click=show, params={"choice": name})
    rates = [("precision", counts.precision), ("recall", counts.recall), ("false-alarm rate", counts.fpr)]
    text = ", ".join(f"{name} **{value:.3f}**" for name, value in rates if value is not None)
    panel.md(text, name="rates")


def add_views(
    panel: types.Object,
    ctx: foo.ExecutionContext,
    show: Handler,
    show_regions: Handler,
    show_groups: Handler,
    show_all: Handler,
) -> None:
    """Add what is one click away."""
    row = panel.h_stack("views", gap=1)
    row.btn("highest", label="Highest", icon="arrow_upward", on_click=show, params={"choice": "highest"})
    row.btn("uncertain", label="Uncertain", icon="help", on_click=show, params={"choice": "uncertain"})
    if len(list_runs(ctx.dataset)) > 1:
        second = f"{URI}second_opinions"
        row.btn("second", label="Second opinion", icon="groups", on_click=second, prompt=True)
    row = panel.h_stack("more_views", gap=1)
    row.btn("regions", label="Regions", icon="crop", on_click=show_regions)
    if "defect.label" in ctx.dataset.get_field_schema(flat=True):
        row.btn("groups", label="By defect", icon="category", on_click=show_groups)
    row.btn("all", label="All", icon="apps", on_click=show_all)


def add_review(panel: types.Object) -> None:
    """Add what one does with what is selected."""
    row = panel.h_stack("review", gap=1)
    for name, label, icon in (
        ("mark_normal", "Normal", "thumb_up"),
        ("mark_anomalous", "Anomalous", "thumb_down"),
        ("undo_review", "Undo", "undo"),
        ("rescore", "Rescore", "autorenew"),
    ):
        row.btn(name, label=label, icon=icon, on_click=f"{URI}{name}", prompt=True)
