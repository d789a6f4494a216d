"""The parts of the panel: what runs, the head of a run, its scores, curves, segments, counts, views and review."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...review.triage import Overlap, read_overlap
from ...scoring.thresholds import threshold_text
from ...utils.text import pluralize
from ...visualization.segment_plot import Points, segment_points
from .. import execution
from ..wording import in_app_words
from . import figures
from .actions import URI, TriageActions
from .run_view import TABS, RunView, slider_name

Handler = Callable[[foo.ExecutionContext], None]

_POLL = 1500
"""Milliseconds between looks at what runs."""

_OUTCOMES = {
    "TP": ("hit", "hits"),
    "FP": ("false alarm", "false alarms"),
    "FN": ("miss", "misses"),
    "TN": ("good passed", "good passed"),
}

_PLOT_CONFIG = {"displayModeBar": False, "scrollZoom": False}
"""Without it, who scrolls the panel would zoom the plots under the mouse."""

_PLOT_HEIGHT = "260px"


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


def points_of(dataset: fo.Dataset, view: RunView) -> Points | None:
    """Return the plot of segments, where it is shown."""
    return segment_points(dataset, view.run.key) if view.tab == "segments" else None


def overlap_of(dataset: fo.Dataset, view: RunView) -> Overlap | None:
    """Return the overlap of regions, where it is shown."""
    return read_overlap(dataset, view.run) if view.tab == "curves" else None


def data(view: RunView, points: Points | None, overlap: Overlap | None) -> dict[str, Any]:
    """Return the data of the plots and of the table."""
    values: dict[str, Any] = {"defects": figures.defect_rows(view.table, view.threshold)}
    if view.tab == "scores":
        values["histogram"] = figures.histogram(view.table)
    elif view.tab == "curves":
        values["roc"] = figures.roc(view.table, view.threshold)
        values["precision_recall"] = figures.precision_recall(view.table, view.threshold)
        values["bars"] = figures.defect_bars(view.table, view.threshold)
        if overlap is not None:
            values["overlap"] = figures.overlap(overlap)
    elif points is not None:
        values["plot"] = figures.segments(*points)
    return values


def add_head(panel: types.Object, view: RunView, actions: TriageActions) -> None:
    """Add the choice of a run, what it is, and the tabs."""
    run = view.run
    runs = types.DropdownView()
    for key in view.runs:
        runs.add_choice(key, label=key)
    panel.enum("run", runs.values(), label="Run", view=runs, on_change=actions.choose_run)
    about = [
        f"{pluralize(run.scored, 'image')} by **{run.method}** with **{run.embedder}**; threshold in force "
        f"{threshold_text(run.thresholds.image, run.thresholds.rule)}"
    ]
    if run.false_alarm_share:
        about.append(f"there {run.false_alarm_share}")
    panel.md(": ".join(about), name="about")
    if run.parts:
        label = f"{pluralize(run.normals, 'normal image')} in {pluralize(run.parts, 'part')}"
        panel.btn("parts", label=label, icon="dynamic_feed", on_click=actions.show_parts)
    for i, sentence in enumerate(view.notes):
        panel.view(f"note{i}", types.AlertView(severity="warning", label=in_app_words(sentence)))
    tabs = types.TabsView()
    for name, label in TABS.items():
        tabs.add_choice(name, label=label)
    panel.enum("tab", tabs.values(), view=tabs, on_change=actions.choose_tab)


def add_scores(panel: types.Object, view: RunView, actions: TriageActions) -> None:
    """Add the histogram and the slider.

    The slider has no default: the App would announce it as a move, and so undo one that a person makes meanwhile.
    """
    low, high = view.span
    _add_plot(panel, "histogram", figures.histogram_layout(view.span, view.threshold), actions.show_bar)
    panel.float(
        slider_name(view.run),
        min=low,
        max=high,
        label="Threshold",
        view=types.SliderView(value_precision=4, view_multiple_of=view.step),
        on_change=actions.move_threshold,
    )


def add_curves(panel: types.Object, view: RunView, overlap: Overlap | None, actions: TriageActions) -> None:
    """Add recall over false alarms, precision over recall, overlap of regions and recall of each kind of defect.

    What cannot be shown says what it needs.
    """
    if view.table.rates() is None:
        text = "Curves need ground truth of normal and of defective images: evaluate the run, or fill `defect`."
        panel.md(text, name="no_curves")
        return
    panel.md("Click a point to move the threshold there.", name="curves_help")
    _add_plot(panel, "roc", figures.curve_layout("false-alarm rate", "recall"), actions.take_point)
    _add_plot(panel, "precision_recall", figures.curve_layout("recall", "precision"), actions.take_point)
    if overlap is None:
        text = "The overlap of regions (PRO) is that of an evaluation: evaluate the run with an **evaluation key**."
        panel.md(text, name="no_overlap")
    else:
        panel.md(figures.overlap_title(overlap), name="overlap_help")
        _add_plot(panel, "overlap", figures.overlap_layout())
    kinds = len(view.table.by_defect(view.threshold))
    if kinds:
        panel.md("Recall of each kind of defect: click a bar to see its images.", name="bars_help")
        layout = figures.defect_bars_layout(view.table, view.threshold)
        _add_plot(panel, "bars", layout, actions.show_kind, f"{90 + 26 * kinds}px")


def add_segments(panel: types.Object, points: Points | None, actions: TriageActions) -> None:
    """Add the plot of segments, or the button that computes it."""
    if points is None:
        panel.md(
            "Segments that look alike beside each other: groups of high scores are kinds of defects, or one kind "
            "of false alarm.",
            name="no_plot",
        )
        panel.btn("plot_segments", label="Plot the segments", icon="bubble_chart", on_click=actions.plot_segments)
        return
    panel.md("Click a segment, or draw around several, to see them.", name="segments_help")
    panel.plot(
        "plot",
        layout=figures.segments_layout(),
        config=_PLOT_CONFIG,
        on_click=actions.show_segments,
        on_selected=actions.show_segments,
        height="360px",
    )


def add_apply(panel: types.Object, view: RunView, actions: TriageActions) -> None:
    """Add what writes a threshold that was moved to, or goes back."""
    if view.moved:
        row = panel.h_stack("apply_row", gap=1)
        label = f"Apply {view.threshold:.4g}"
        row.btn("apply", label=label, icon="check", variant="contained", on_click=actions.apply_threshold)
        row.btn("reset", label="Back", icon="undo", on_click=actions.reset_threshold)


def add_counts(panel: types.Object, view: RunView, actions: TriageActions) -> None:
    """Add the counts at the threshold, each a button that shows its images; with truth, the rates as well."""
    row = panel.h_stack("counts", gap=1)
    flagged = view.table.flagged(view.threshold)
    row.btn("flagged", label=f"{flagged:,} flagged", on_click=actions.show, params={"choice": "flagged"})
    if not view.table.labelled:
        return
    counts = view.table.confusion(view.threshold)
    for i, (name, words) in enumerate(_OUTCOMES.items()):
        if i == 2:  # all would not fit beside each other
            row = panel.h_stack("more_counts", gap=1)
        label = pluralize(getattr(counts, name.lower()), *words)
        row.btn(name, label=label, on_click=actions.show, params={"choice": name})
    rates = [("precision", counts.precision), ("recall", counts.recall), ("false-alarm rate", counts.fpr)]
    text = ", ".join(f"{name} **{value:.3f}**" for name, value in rates if value is not None)
    if view.table.references:
        text += f". {pluralize(view.table.references, 'reference image does', 'reference images do')} not count"
    panel.md(text, name="rates")


def add_views(panel: types.Object, dataset: fo.Dataset, view: RunView, actions: TriageActions) -> None:
    """Add the views of the grid that are one click away."""
    row = panel.h_stack("views", gap=1)
    row.btn("highest", label="Highest", icon="arrow_upward", on_click=actions.show, params={"choice": "highest"})
    row.btn("uncertain", label="Uncertain", icon="help", on_click=actions.show, params={"choice": "uncertain"})
    if len(view.runs) > 1:
        second = f"{URI}second_opinions"
        params = {"key": view.run.key}
        row.btn("second", label="Second opinion", icon="groups", on_click=second, prompt=True, params=params)
    row = panel.h_stack("more_views", gap=1)
    row.btn("regions", label="Regions", icon="crop", on_click=actions.show_regions)
    if "defect.label" in dataset.get_field_schema(flat=True):
        row.btn("groups", label="By defect", icon="category", on_click=actions.show_groups)
    row.btn("all", label="All", icon="apps", on_click=actions.show_all)


def add_review(panel: types.Object, view: RunView) -> None:
    """Add what one does with what is selected."""
    row = panel.h_stack("review", gap=1)
    for name, label, icon in (
        ("mark_normal", "Normal", "thumb_up"),
        ("mark_anomalous", "Anomalous", "thumb_down"),
        ("undo_review", "Undo", "undo"),
        ("rescore", "Rescore", "autorenew"),
    ):
        params = {"key": view.run.key}
        row.btn(name, label=label, icon=icon, on_click=f"{URI}{name}", prompt=True, params=params)


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


def _add_plot(
    panel: types.Object,
    name: str,
    layout: dict[str, Any],
    on_click: Handler | None = None,
    height: str = _PLOT_HEIGHT,
) -> None:
    panel.plot(name, layout=layout, config=_PLOT_CONFIG, on_click=on_click, height=height)
