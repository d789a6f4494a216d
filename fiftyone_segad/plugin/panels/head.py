"""The head of the panel: the run, its threshold in words, what should be known of it, and the tabs."""

from __future__ import annotations

import fiftyone.operators.types as types

from ...scoring.thresholds import rule_in_words
from ...utils.text import pluralize
from ..wording import in_app_words
from .actions import URI, TriageActions
from .run_view import TABS, RunView


def add_run(panel: types.Object, view: RunView, actions: TriageActions) -> None:
    """Add the choice of a run, what its threshold means, and what should be known of it."""
    run = view.run
    runs = types.DropdownView()
    for key in view.runs:
        runs.add_choice(key, label=key)
    panel.enum("run", runs.values(), label="Run", view=runs, on_change=actions.choose_run)
    scored = pluralize(run.scored, "image")
    laid = ", parts laid straight" if view.laid_straight else ""
    about = [f"{scored} by {run.method} with {run.embedder}{laid}. Flagged above **{run.thresholds.image:.3g}**"]
    words = rule_in_words(run.thresholds.rule)
    about += [f", {words}"] if words else []
    if run.false_alarm_share:
        about.append(f". At this threshold {run.false_alarm_share}")
    panel.md("".join(about), name="about")
    if run.parts:
        label = f"{pluralize(run.normals, 'normal image')} in {pluralize(run.parts, 'part')}"
        panel.btn("parts", label=label, icon="dynamic_feed", on_click=actions.show_parts)
    for i, sentence in enumerate(view.notes):
        panel.view(f"note{i}", types.AlertView(severity="warning", label=in_app_words(sentence)))
    if view.dirty:
        panel.btn(
            "clean",
            label="Compute again, as if some were defective",
            icon="cleaning_services",
            on_click=f"{URI}compute_segment_anomalies",
            prompt=True,
            params={"clean": True},
        )


def add_tabs(panel: types.Object, actions: TriageActions) -> None:
    """Add the tabs."""
    tabs = types.TabsView()
    for name, label in TABS.items():
        tabs.add_choice(name, label=label)
    panel.enum("tab", tabs.values(), view=tabs, on_change=actions.choose_tab)
