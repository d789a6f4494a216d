"""Panel ``anomaly_triage``: from scores to decisions, beside the grid."""

from __future__ import annotations

import logging
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...evaluation.drift_over_time import DriftOverTime
from ...registry.keys import list_evaluations, list_runs
from ...visualization.segment_plot import has_plot
from .. import execution
from ..current_run import current_run_of, panel_store, set_current_run, shows_groups
from ..execution import PANEL
from . import charts, families, head, page_state, periods, sections, why
from .actions import TriageActions
from .run_view import (
    FIRST_TAB,
    TABS,
    RunView,
    forget_tables,
    in_modal,
    load_shown_run,
    run_view_of,
    sample_of,
    slider_name,
)

_MOST_FAILURES = 4
"""Events in a row that may fail before the panel says so."""

_REMEMBERED = ("tab", "by", "every")
"""What the page is opened with again, beside the slider's value; all of it is the App's own."""

logger = logging.getLogger(__name__)


class AnomalyTriage(foo.Panel):
    """Histogram, threshold, counts and views of a run, and why a sample is anomalous.

    State: ``tab``, ``by``, ``every`` and the slider's value are the App's own, which each event therefore brings up to
    date; ``run`` is the current run, and ``shown`` the one that was drawn last; ``why`` explains a sample; ``active``
    is what runs; ``drawn`` is what was drawn last; ``failures`` counts the events in a row that failed.
    """

    @property
    def config(self) -> foo.PanelConfig:
        return foo.PanelConfig(
            name=PANEL,
            label="Anomaly triage",
            icon="troubleshoot",
            help_markdown="Move the threshold, look at what it flags, and ask why a sample is anomalous.",
            surfaces="grid modal",
        )

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        method = ctx.params.get("__method__")
        if method is None or method == "on_startup":
            return super().execute(ctx)
        state = ctx.panel.state
        try:
            self._handle(ctx, method)
        except Exception as error:  # a run may be putting its fields in place; the next poll finds them there
            logger.warning("The panel could not be read: %s", error, exc_info=error)
            state.failures = (state.failures or 0) + 1
            if method == self.on_load.__name__ or state.failures >= _MOST_FAILURES:
                ctx.ops.show_panel_output(self._waiting(error if state.failures >= _MOST_FAILURES else None))
        else:
            if state.failures:
                state.failures = 0
        return None

    def _handle(self, ctx: foo.ExecutionContext, method: str) -> None:
        """Handle an event, and draw only if what is shown has changed.

        Most events change the grid, or nothing (a poll, a change of the view). Drawn all the same, their answers would
        now and then arrive after that of a later event, and show again what was shown before it.
        """
        state = ctx.panel.state
        page_state.arrived(state, [*_REMEMBERED, *(name for name in ctx.panel_state if name.startswith("slider_"))])
        actions = TriageActions(self.uri)
        getattr(actions if hasattr(actions, method) else self, method)(ctx)
        page_state.renew(state, ctx.panel_state)
        view = run_view_of(ctx)
        drawing = _fingerprint(ctx, view)
        if drawing != state.drawn or state.failures or method == self.on_load.__name__:
            output = self._drawing(ctx, view)
            state.drawn = drawing
            ctx.ops.show_panel_output(output)

    def on_load(self, ctx: foo.ExecutionContext) -> None:
        """Show the tab and the threshold that were looked at last."""
        state = ctx.panel.state
        if ctx.dataset is not None and state.tab is None:
            for name, value in (panel_store(ctx.dataset).get(PANEL) or {}).items():
                page_state.change(state, name, value)
        if state.tab not in TABS:
            page_state.change(state, "tab", FIRST_TAB)
        self.on_change_group_slice(ctx)
        self._explain_open_sample(ctx)

    def on_change_dataset(self, ctx: foo.ExecutionContext) -> None:
        """Begin anew."""
        for name in ("run", "shown", "tab", "why", "active"):
            page_state.change(ctx.panel.state, name, None)
        self.on_load(ctx)

    def on_change_view(self, ctx: foo.ExecutionContext) -> None:
        """Highlight the choice that the grid now shows, if it is one, and show new runs and thresholds."""

    def on_change_group_slice(self, ctx: foo.ExecutionContext) -> None:
        """Show the run of the slice that the grid now shows."""
        if ctx.dataset is None or ctx.group_slice is None or not shows_groups(ctx):
            return
        key = current_run_of(ctx)
        if key is not None and key != ctx.panel.state.run:
            ctx.panel.state.run, ctx.panel.state.why = key, None
            set_current_run(ctx.dataset, key)

    def on_change_selected(self, ctx: foo.ExecutionContext) -> None:
        """Mark what is selected in the plots, and drop the explanation of another sample."""
        self._drop_other_why(ctx)

    def on_change_current_sample(self, ctx: foo.ExecutionContext) -> None:
        """Drop the explanation of another sample; beside an open one, explain that."""
        self._drop_other_why(ctx)
        self._explain_open_sample(ctx)

    def _drop_other_why(self, ctx: foo.ExecutionContext) -> None:
        explained, sample_id = ctx.panel.state.why, sample_of(ctx)
        if explained and sample_id and explained["sample_id"] != sample_id:
            ctx.panel.state.why = None

    def _explain_open_sample(self, ctx: foo.ExecutionContext) -> None:
        view = run_view_of(ctx) if in_modal(ctx) and not ctx.panel.state.why else None
        if view is not None and view.sample_score is not None and view.run.store.exists():
            TriageActions(self.uri).explain(ctx)

    def poll(self, ctx: foo.ExecutionContext) -> None:
        """Show what has begun, gone on or ended since."""
        now, before = _activity(ctx), ctx.panel.state.active or {"running": {}, "failed": {}}
        if now == before:
            return
        ctx.panel.state.active = now
        if set(before["running"]) - set(now["running"]):
            forget_tables()

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
        return _laid_out(panel)

    def _waiting(self, error: Exception | None) -> types.Property:
        """Draw what stands in for the panel until it can be read."""
        panel = types.Object()
        if error is None:
            panel.md("Reading the dataset ...", name="waiting")
        else:
            label = f"The panel cannot be read: {error}"
            panel.view("error", types.AlertView(severity="error", label=label))
        sections.add_poll(panel, self.poll)
        return _laid_out(panel)


def _laid_out(panel: types.Object) -> types.Property:
    return types.Property(panel, view=types.GridView(orientation="vertical", gap=2, px=2, py=1))


def _add_run(panel: types.Object, ctx: foo.ExecutionContext, view: RunView, actions: TriageActions) -> None:
    points, overlap = charts.points_of(ctx.dataset, view), charts.overlap_of(ctx.dataset, view)
    for name, values in charts.data(view, points, overlap).items():
        ctx.panel.set_data(name, values)
    over_time = periods.periods_of(ctx.dataset, view)
    if isinstance(over_time, DriftOverTime):
        ctx.panel.set_data("periods", periods.data(over_time))
    head.add_run(panel, view, actions)
    why.add(panel, view, ctx.panel.state.why, actions)
    head.add_tabs(panel, actions)
    if view.tab == "scores":
        charts.add_scores(panel, view, actions)
    elif view.tab == "curves":
        charts.add_curves(panel, view, overlap, actions)
    elif view.tab == "time":
        periods.add(panel, ctx.dataset, view, over_time, actions.choose_periods, actions.show_period)
    elif view.tab == "families":
        ctx.panel.data.set(families.add(panel, ctx, view, actions.show_family))
    else:
        charts.add_segments(panel, points, actions)
    if view.tab != "time":
        charts.add_legend(panel, view, actions)
    sections.add_counts(panel, view, actions)
    sections.add_apply(panel, view, actions)
    sections.add_advice(panel, view, actions)
    sections.add_views(panel, ctx.dataset, view, actions)
    sections.add_review(panel, view)
    sections.add_defects(panel, view, actions)
    sections.add_runs(panel, view, actions)
    names = (*_REMEMBERED, slider_name(view.run))
    panel_store(ctx.dataset).set(PANEL, {name: ctx.panel.state.get(name) for name in names})


def _fingerprint(ctx: foo.ExecutionContext, view: RunView | None) -> str:
    """Return all that a drawing depends on, as a text."""
    if ctx.dataset is None:
        return ""
    explained = ctx.panel.state.why
    parts: list[Any] = [_activity(ctx), explained and (explained["sample_id"], "miss" in explained)]
    if view is None:
        parts.append(ctx.panel.state.run and str(load_shown_run(ctx)))
    else:
        run = view.run
        parts += [view.runs, run.folder, run.thresholds, view.threshold, view.tab, view.by, view.every, view.notes]
        parts += [view.sample_id, view.lines, view.choice, view.parts, families.state_of(view)]
        parts += [list_evaluations(ctx.dataset), has_plot(ctx.dataset, run.key), len(view.table)]
    return repr(parts)


def _activity(ctx: foo.ExecutionContext) -> dict[str, Any]:
    """Return what runs and what failed as plain values, which tell whether something has changed."""
    dataset_id = execution.dataset_id(ctx)
    return {
        "running": {
            activity.name: [activity.label, activity.cancelling] for activity in execution.activities(dataset_id)
        },
        "failed": execution.failures(dataset_id),
    }
