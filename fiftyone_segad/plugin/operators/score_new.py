"""Operator ``score_new``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.media as fom
import fiftyone.operators as foo
import fiftyone.operators.types as types
from fiftyone.core.collections import SampleCollection as Samples

from ...errors import RunError
from ...registry.fields import flagged
from ...registry.keys import check_key, field_name, list_runs, list_views
from ...registry.run import Run
from ...registry.samples import all_slices
from ...registry.views import load_views
from ...runs.score_new import score_new
from ...utils.text import pluralize
from .. import execution, forms, paths
from ..slices import by_slice, runs_of, shown_of_runs, thresholds_of
from ..target import grouped_samples, target_samples
from .base import NOTES, Line, LongOperator, long_config, notes

SOURCES = {
    "run": "A run of this dataset",
    "bank": "A bank file, from this or another machine",
}


class ScoreNew(LongOperator):
    """Scores images that came after a run, or with a bank file."""

    config = long_config(
        "score_new",
        "score new images",
        "Score images that were added later against a run or a bank file, without fitting anew",
        "playlist_add",
    )
    delegate_from = 200
    outputs = (
        Line("new", "New images scored"),
        Line("flagged", "Anomalous among them"),
        Line("above", "Those with scores above, as before", "text"),
        Line("skipped", "Images skipped (tag {key}_skipped)", when="skipped"),
        NOTES,
    )

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        runs = list_runs(ctx.dataset)
        source = _source(ctx.params, runs)
        labels = {name: SOURCES[name] for name in (SOURCES if runs else ["bank"])}
        forms.choose_one(inputs, "source", labels, source, "Compare with")
        if source == "run":
            key = forms.choose_run(ctx, inputs, with_views=True, views_first=False)
        else:
            key = _add_bank(ctx, inputs, runs)
        ids = all_slices(_samples(ctx, key)).values("id")
        if key is not None and not forms.stop_if_empty(inputs, len(ids)):
            new = set(ids) - _scored(ctx.dataset, key)
            label = f"{len(new)} of {len(ids)} images have no score in '{key}' yet{_speed(ctx, key)}"
            if not new:
                label = f"All {pluralize(len(ids), 'image')} here have a score in '{key}'; there is nothing new"
            inputs.view("count", types.Notice(label=label))

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        source, key = _source(ctx.params, list_runs(ctx.dataset)), _key(ctx)
        bank = paths.path_of(ctx.params, "bank") if source == "bank" else None
        if source == "bank" and bank is None:
            raise ValueError("bank is missing: name the bank's file")
        samples, dataset = _samples(ctx, key), ctx.dataset

        def work(progress: execution.Progress) -> dict[str, Any]:
            before = _scored(dataset, key)
            old = runs_of(dataset, key) if key in (*list_runs(dataset), *list_views(dataset)) else {}
            old_warnings = {text for run in old.values() for text in run.warnings}
            score_new(samples, key, bank=bank, progress=progress)
            runs, tried = runs_of(dataset, key), set(all_slices(samples).values("id"))
            new = _highest_first(dataset, runs, (_scored(dataset, key) - before) & tried)
            skipped = [entry for run in runs.values() for entry in run.skipped if entry["id"] in tried]
            warnings = dict.fromkeys(text for run in runs.values() for text in run.warnings)
            return {
                "key": key,
                "new": len(new),
                "ids": new,
                "flagged": sum(len(flagged(all_slices(dataset).select(new), run)) for run in runs.values()),
                "threshold": thresholds_of(runs),
                "above": by_slice(runs, lambda run: f"{run.thresholds.image:.3g}"),
                "skipped": len(skipped),
                "messages": notes([text for text in warnings if text not in old_warnings], skipped),
            }

        def show(result: dict[str, Any]) -> Iterator[Any]:
            new = all_slices(dataset).select(result["ids"], ordered=True)
            fields = shown_of_runs(dataset, key, ctx.active_fields)
            yield from execution.show_fields(ctx, dataset, new if result["ids"] else ctx.view, fields)

        return self.run(ctx, f"new images of {key}", work, show, key)

    def next_step(self, result: dict[str, Any]) -> str:
        if not result.get("new"):
            return "There was nothing new to score. Clear the view's filters if you expected something"
        return "Next: look at the highest scores among the new images"


def _add_bank(ctx: foo.ExecutionContext, inputs: types.Object, runs: list[str]) -> str:
    """Add the file of a bank and the key of its run; returns the key."""
    about = "Full path of a file that 'Save the bank of a run' made, on the machine that runs the App"
    file = paths.choose_path(ctx, inputs, "bank", "Bank file", about)
    path = paths.path_of(ctx.params, "bank")
    if path is not None and not Path(path).expanduser().is_file():
        forms.refuse(file, f"There is no file '{path}'")
    prop = inputs.str("key", default="segad", label="Key", description="Names the run, new or made with this bank")
    key = forms.text(ctx.params, "key", "segad") or "segad"
    if key not in runs:
        forms.invalid(prop, lambda: check_key(ctx.dataset, key, overwrite=False))
    return key


def _speed(ctx: foo.ExecutionContext, key: str) -> str:
    """Return how fast the last run with the embedder of a run was; empty where the run is not there."""
    try:
        return forms.speed_of(ctx, run=next(iter(runs_of(ctx.dataset, key).values())))
    except (RunError, ValueError):
        return ""


def _samples(ctx: foo.ExecutionContext, key: str | None) -> Samples:
    """Return the samples that are to be scored: for the key of all slices the groups that the form names."""
    is_grouped = ctx.target_view().media_type == fom.GROUP
    return grouped_samples(ctx) if is_grouped and key in list_views(ctx.dataset) else target_samples(ctx)


def _scored(dataset: fo.Dataset, key: str) -> set[str]:
    """Return the ids of the samples that have a score in a run, or in that of their slice."""
    keys = [run.key for run in load_views(dataset, key).runs.values()] if key in list_views(dataset) else [key]
    fields = [field_name(key, "score") for key in keys]
    return {
        id
        for field in fields
        if dataset.has_sample_field(field)
        for id in all_slices(dataset).exists(field).values("id")
    }


def _highest_first(dataset: fo.Dataset, runs: dict[str, Run], ids: set[str]) -> list[str]:
    """Sort samples by their scores, slice by slice: these are on scales of their own."""
    samples = all_slices(dataset).select(list(ids))
    return [
        id
        for run in runs.values()
        for id in samples.exists(run.field("score")).sort_by(run.field("score"), reverse=True).values("id")
    ]


def _source(params: dict[str, Any], runs: list[str]) -> str:
    """Return what is compared with; from Python a bank alone says it."""
    return forms.one_of(params, "source", SOURCES, "run" if runs and not params.get("bank") else "bank")


def _key(ctx: foo.ExecutionContext) -> str:
    runs = list_runs(ctx.dataset)
    if runs and _source(ctx.params, runs) == "run":
        return forms.run_key(ctx)
    return forms.text(ctx.params, "key", "segad") or "segad"
