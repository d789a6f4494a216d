"""Panel ``anomaly_triage``: from scores to decisions, beside the grid."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...registry.keys import list_evaluations, list_runs
from ...visualization.segment_plot import has_plot
from .. import execution
from . import crops, page_state, sections
from .actions import TriageActions, sample_of
from .run_view import FIRST_TAB, TABS, RunView, forget_tables, load_shown_run, run_view_of, slider_name

_NAME = "anomaly_triage"


class AnomalyTriage(foo.Panel):
    """Histogram, threshold, counts and views of a run, and why a sample is anomalous.

    State: ``run``, ``tab`` and the slider's value are the App's own, which each event therefore brings up to date;
    ``why`` explains a sample; ``active`` is what runs; ``drawn`` is what was drawn last.
    """

    @property
    def config(self) -> foo.PanelConfig:
        return foo.PanelConfig(
            name=_NAME,
            label="Anomaly triage",
            icon="troubleshoot",
            help_markdown="Move the threshold, look at what it flags, and ask why a sample is anomalous.",
            surfaces="grid modal",
        )

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        """Handle an event, and draw only if what is shown has changed.

        Most events change the grid, or nothing (a poll, a change of the view). Drawn all the same, their answers would
        now and then arrive after that of a later event, and show again what was shown before it.
        """
        method = ctx.params.get("__method__")
        if method is None or method == "on_startup":
            return super().execute(ctx)
        state = ctx.panel.state
        page_state.arrived(state, ["run", "tab", *(name for name in ctx.panel_state if name.startswith("slider_"))])
        actions = TriageActions(self.uri)
        getattr(actions if hasattr(actions, method) else self, method)(ctx)
        page_state.renew(state, ctx.panel_state)
        view = run_view_of(ctx)
        drawing = _fingerprint(ctx, view)
        if drawing != state.drawn or method == self.on_load.__name__:
            state.drawn = drawing
            ctx.ops.show_panel_output(self._drawing(ctx, view))
        return None

    def on_load(self, ctx: foo.ExecutionContext) -> None:
        """Show the run that was shown last, or the newest."""
        state = ctx.panel.state
        if ctx.dataset is not None and state.run is None:
            for name, value in (_memory(ctx).get(_NAME) or {}).items():
                page_state.change(state, name, value)
        if state.tab not in TABS:
            page_state.change(state, "tab", FIRST_TAB)

    def on_change_dataset(self, ctx: foo.ExecutionContext) -> None:
        """Begin anew."""
        for name in ("run", "tab", "why", "active"):
            page_state.change(ctx.panel.state, name, None)
        self.on_load(ctx)

    def on_change_view(self, ctx: foo.ExecutionContext) -> None:
        """Show new runs and thresholds; else nothing depends on the view."""

    def on_change_current_sample(self, ctx: foo.ExecutionContext) -> None:
        """Drop the explanation of another sample."""
        why = ctx.panel.state.why
        if why and ctx.current_sample and why["sample_id"] != sample_of(ctx):
            ctx.panel.state.why = None

    def poll(self, ctx: foo.ExecutionContext) -> None:
        """Show what has begun, gone on or ended since."""
        now, before = _activity(ctx), ctx.panel.state.active or {"running": {}, "failed": {}}
        if now == before:
            return
        ctx.panel.state.active = now
        if set(before["running"]) - set(now["running"]):
            forget_tables()
            runs = list_runs(ctx.dataset)
            if runs:  # one that has ended is what one waits for; without a new one, the same is shown again
                page_state.change(ctx.panel.state, "run", runs[-1])

    def render(self, ctx: foo.ExecutionContext) -> types.Property:
        """Draw the panel."""
        return self._drawing(ctx, run_view_of(ctx))

    def _drawing(self, ctx: foo.ExecutionContext, view: RunView | None) -> types.Property:
        panel, actions = types.Object(), TriageActions(self.uri)
        if ctx.dataset is None:
            panel.md("### Open a dataset first", name="empty")
        else:
            sections.add_activities(panel, ctx, actions, self.poll)
            if view is not None:
                _add_run(panel, ctx, view, actions)
            elif ctx.panel.state.run in list_runs(ctx.dataset):
                panel.view("error", types.AlertView(severity="error", label=str(load_shown_run(ctx))))
            else:
                sections.add_empty(panel)
        return types.Property(panel, view=types.GridView(orientation="vertical", gap=2, px=2, py=1))


def _add_run(panel: types.Object, ctx: foo.ExecutionContext, view: RunView, actions: TriageActions) -> None:
    points, overlap = sections.points_of(ctx.dataset, view), sections.overlap_of(ctx.dataset, view)
    for name, values in sections.data(view, points, overlap).items():
        ctx.panel.set_data(name, values)
    sections.add_head(panel, view, actions)
    if view.tab == "scores":
        sections.add_scores(panel, view, actions)
    elif view.tab == "curves":
        sections.add_curves(panel, view, overlap, actions)
    else:
        sections.add_segments(panel, points, actions)
    sections.add_counts(panel, view, actions)
    sections.add_apply(panel, view, actions)
    sections.add_views(panel, ctx.dataset, view, actions)
    sections.add_review(panel)
    sections.add_defects(panel, view, actions)
    panel.btn("why_button", label="Why is it anomalous?", icon="psychology_alt", on_click=actions.explain)
    if ctx.panel.state.why:
        crops.add(panel, ctx.panel.state.why, actions.open_normal)
    names = ("run", "tab", slider_name(view.run))
    _memory(ctx).set(_NAME, {name: ctx.panel.state.get(name) for name in names})


def _fingerprint(ctx: foo.ExecutionContext, view: RunView | None) -> str:
    """Return all that a drawing depends on, as a text."""
    if ctx.dataset is None:
        return ""
    why = ctx.panel.state.why
    parts: list[Any] = [_activity(ctx), why and why["sample_id"]]
    if view is None:
        parts.append(ctx.panel.state.run and str(load_shown_run(ctx)))
    else:
        run = view.run
        parts += [view.runs, run.folder, run.thresholds.image, view.threshold, view.tab]
        parts += [list_evaluations(ctx.dataset), has_plot(ctx.dataset, run.key), len(view.table)]
    return repr(parts)


def _activity(ctx: foo.ExecutionContext) -> dict[str, Any]:
    """Return what runs and what failed as plain values, which tell whether something has changed."""
    dataset_id = execution.dataset_id(ctx)
    return {
        "running": {activity.name: activity.label for activity in execution.activities(dataset_id)},
        "failed": execution.failures(dataset_id),
    }


def _memory(ctx: foo.ExecutionContext) -> Any:
    """Return the store that a reload of the page keeps; it goes with the dataset."""
    return ctx.store("fiftyone_segad_panel")
