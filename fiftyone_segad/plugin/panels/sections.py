"""The parts of the panel below its charts, and what it shows of what runs: counts, advice, views and review."""

from __future__ import annotations

from collections.abc import Callable

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...review.triage import regions_field
from ...scoring.thresholds import DEFAULT_FPR
from ...utils.text import pluralize
from .. import execution
from .actions import URI, TriageActions
from .rows import add_button, add_row
from .run_view import RunView

Handler = Callable[[foo.ExecutionContext], None]

_POLL = 1500
"""Milliseconds between looks at what runs."""

_POOR = 0.8
"""Recall or precision below which another threshold is offered."""

_WORTHWHILE = 0.02
"""Gain of F1 from which another threshold is worth an offer."""

_FIVE_PERCENT = f"fpr:{DEFAULT_FPR}"

_WITH_RUNS = (
    ("compute_segment_anomalies", "Compute another", "thermostat"),
    ("compare_runs", "Compare", "compare"),
    ("evaluate_anomalies", "Evaluate, report", "fact_check"),
    ("save_bank", "Save bank", "save"),
    ("export_run", "Export", "archive"),
    ("delete_run", "Delete", "delete"),
    ("try_image", "Try one image", "image_search"),
)
"""Operators, each with the label and the icon of its button."""

_OUTCOMES = {
    "TP": ("hit", "hits"),
    "FP": ("false alarm", "false alarms"),
    "FN": ("miss", "misses"),
    "TN": ("good passed", "good passed"),
}


def add_activities(panel: types.Object, ctx: foo.ExecutionContext, actions: TriageActions, poll: Handler) -> None:
    """Add what runs, with its progress and a way to stop it, and what failed, with its error."""
    dataset_id = execution.dataset_id(ctx)
    for i, activity in enumerate(execution.activities(dataset_id)):
        label = f"{'Cancelling' if activity.cancelling else 'Running'} '{activity.name}': {activity.label}"
        panel.float(f"progress{i}", default=activity.share, view=types.ProgressView(label=label))
        if activity.cancelling:
            panel.md("Cancelling... It keeps what it has finished.", name=f"cancelling{i}")
        else:
            params = {"name": activity.name}
            panel.btn(
                f"cancel{i}", label=f"Cancel {activity.name}", icon="cancel", on_click=actions.cancel, params=params
            )
    for i, (name, error) in enumerate(execution.failures(dataset_id).items()):
        panel.view(f"failed{i}", types.AlertView(severity="error", label=f"'{name}' did not end: {error}"))
        panel.btn(f"dismiss{i}", label="Dismiss", icon="close", on_click=actions.dismiss, params={"name": name})
    add_poll(panel, poll)


def add_poll(panel: types.Object, poll: Handler) -> None:
    """Have the panel look for what has changed now and then."""
    panel.view("poll", types.TimerView(interval=_POLL, on_interval=poll))


def add_apply(panel: types.Object, view: RunView, actions: TriageActions) -> None:
    """Add what writes a threshold that was moved to, or goes back."""
    if view.moved:
        row = panel.h_stack("apply_row", gap=1)
        label = f"Apply {view.threshold:.3g}"
        row.btn("apply", label=label, icon="check", variant="contained", on_click=actions.apply_threshold)
        row.btn("reset", label="Back", icon="undo", on_click=actions.reset_threshold)


def add_counts(panel: types.Object, view: RunView, actions: TriageActions) -> None:
    """Add the counts at the threshold, each a button that shows its images; with truth, the rates as well."""
    row = add_row(panel, "counts")
    counts = [("flagged", f"{view.table.flagged(view.threshold):,} flagged")]
    if view.table.labelled:
        outcomes = view.table.confusion(view.threshold)
        counts += [(name, pluralize(getattr(outcomes, name.lower()), *words)) for name, words in _OUTCOMES.items()]
    for name, label in counts:
        add_button(row, name, label, active=name == view.choice, on_click=actions.show, params={"choice": name})
    if view.parts is not None:
        label = f"{view.parts.flagged:,} of {pluralize(view.parts.decided, 'part')} flagged"
        add_button(row, "parts", label, on_click=actions.show_flagged_parts)
    if not view.table.labelled:
        return
    rates = [("precision", outcomes.precision), ("recall", outcomes.recall), ("false-alarm rate", outcomes.fpr)]
    text = ", ".join(f"{name} **{value:.3f}**" for name, value in rates if value is not None)
    if view.table.references:
        text += f". {pluralize(view.table.references, 'reference image does', 'reference images do')} not count"
    panel.md(text, name="rates")


def add_advice(panel: types.Object, view: RunView, actions: TriageActions) -> None:
    """Say so where the threshold misses many defects or flags many good images, and offer others in one click."""
    counts, best = view.table.confusion(view.threshold), view.table.best_f1()
    if best is None or counts.recall is None:
        return
    sentences = []
    if counts.recall < _POOR:
        missed = counts.fn + counts.tp
        sentences.append(f"{counts.fn:,} of {pluralize(missed, 'defective image')} are missed")
    if counts.precision is not None and counts.precision < _POOR:
        sentences.append(f"{counts.fp:,} of {pluralize(counts.fp + counts.tp, 'alarm')} are false")
    f1, threshold = best
    offers = {}
    if f1 > (counts.f1 or 0) + _WORTHWHILE:
        offers[f"Best F1: {f1:.2f} at {threshold:.3g}"] = repr(threshold)
    if view.run.false_alarm_share and view.run.thresholds.rule != _FIVE_PERCENT:
        offers["5 % false alarms"] = _FIVE_PERCENT
    if not sentences or not offers:
        return
    text = f"At {view.threshold:.3g}, {' and '.join(sentences)}. Another threshold (the best F1 has seen the truth):"
    panel.view("advice", types.AlertView(severity="info", label=text))
    row = add_row(panel, "offers")
    for i, (label, rule) in enumerate(offers.items()):
        add_button(row, f"offer{i}", label, icon="tune", on_click=actions.use_threshold, params={"rule": rule})


def add_views(panel: types.Object, dataset: fo.Dataset, view: RunView, actions: TriageActions) -> None:
    """Add the views of the grid that are one click away."""
    row = add_row(panel, "views")
    for name, label, icon in (("highest", "Highest", "arrow_upward"), ("uncertain", "Uncertain", "help")):
        params = {"choice": name}
        add_button(row, name, label, active=name == view.choice, icon=icon, on_click=actions.show, params=params)
    if len(view.runs) > 1:
        second = f"{URI}second_opinions"
        params = {"key": view.run.key}
        add_button(row, "second", "Second opinion", icon="groups", on_click=second, prompt=True, params=params)
    add_button(row, "regions", "Regions", icon="crop", on_click=actions.show_regions)
    if regions_field(dataset, view.run) is not None:
        add_button(row, "outcomes", "By outcome", icon="rule", on_click=actions.show_outcomes)
    if "defect.label" in dataset.get_field_schema(flat=True):
        add_button(row, "groups", "By defect", icon="category", on_click=actions.show_groups)
    add_button(row, "all", "All", icon="apps", on_click=actions.show_all)


def add_review(panel: types.Object, view: RunView) -> None:
    """Add what one does with what is selected."""
    row = add_row(panel, "review")
    for name, label, icon in (
        ("mark_normal", "Normal", "thumb_up"),
        ("mark_anomalous", "Anomalous", "thumb_down"),
        ("undo_review", "Undo", "undo"),
        ("rescore", "Rescore", "autorenew"),
    ):
        params = {"key": view.run.key}
        add_button(row, name, label, icon=icon, on_click=f"{URI}{name}", prompt=True, params=params)


def add_runs(panel: types.Object, view: RunView, actions: TriageActions) -> None:
    """Add what one does with runs."""
    row = add_row(panel, "runs")
    for name, label, icon in _WITH_RUNS:
        if name != "compare_runs" or len(view.runs) > 1:
            add_button(row, name, label, icon=icon, on_click=actions.open_form, params={"form": name})


def add_defects(panel: types.Object, view: RunView, actions: TriageActions) -> None:
    """Add the table of kinds of defects."""
    if not view.table.by_defect(view.threshold):
        return
    narrow = {"minWidth": 0, "& td, & th": {"paddingLeft": "8px", "paddingRight": "8px"}}
    table = types.TableView(size="small", componentsProps={"table": {"sx": narrow}})
    for name in ("defect", "images", "flagged", "recall", "auroc"):
        table.add_column(name, label=name)
    table.add_row_action("show", actions.show_row, label="Show", icon="visibility")
    panel.list("defects", types.Object(), label="By kind of defect", view=table)


def add_empty(panel: types.Object) -> None:
    """Add what to do first."""
    panel.md(
        "### No run yet\n"
        "A run compares the segments of your images with those of normal ones: **choose what is normal**, by a split, "
        "a tag, a saved view or a field, and compute. Without any normal images choose the method *unlabeled*.",
        name="empty",
    )
    row = panel.h_stack("next", gap=1)
    compute, load = f"{URI}compute_segment_anomalies", f"{URI}load_folder"
    row.btn("compute", label="Compute anomalies", icon="thermostat", variant="contained", on_click=compute, prompt=True)
    panel.md("Or with other images:", name="or")
    row = panel.h_stack("other", gap=1)
    row.btn("load", label="Load a folder", icon="folder_open", on_click=load, prompt=True)
    row.btn(
        "sample",
        label="Sample dataset",
        icon="auto_awesome",
        on_click=load,
        prompt=True,
        params={"source": "sample"},
    )
    row.btn("try_image", label="Try one image", icon="image_search", on_click=f"{URI}try_image", prompt=True)
