"""Operator ``score_new``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...errors import RunError
from ...registry.fields import flagged
from ...registry.keys import check_key, field_name, list_runs
from ...registry.run import load_run
from ...registry.samples import all_slices
from ...runs.score_new import score_new
from .. import execution, forms, paths
from ..current_run import shown_fields
from ..target import target_samples
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
        key = forms.choose_run(ctx, inputs) if source == "run" else _add_bank(ctx, inputs, runs)
        ids = target_samples(ctx).values("id")
        if key is not None and not forms.stop_if_empty(inputs, len(ids)):
            new = set(ids) - _scored(ctx.dataset, key)
            label = f"{len(new)} of {len(ids)} images have no score in '{key}' yet{_speed(ctx, key)}"
            inputs.view("count", types.Notice(label=label))

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        source, key = _source(ctx.params, list_runs(ctx.dataset)), _key(ctx)
        bank = paths.path_of(ctx.params, "bank") if source == "bank" else None
        if source == "bank" and bank is None:
            raise ValueError("bank is missing: name the bank's file")
        samples, dataset = target_samples(ctx), ctx.dataset

        def work(progress: execution.Progress) -> dict[str, Any]:
            before = _scored(dataset, key)
            old_warnings = load_run(dataset, key).warnings if key in list_runs(dataset) else []
            run = score_new(samples, key, bank=bank, progress=progress)
            new = [id for id in samples.exists(run.field("score")).values("id") if id not in before]
            tried = set(samples.values("id"))
            skipped = [entry for entry in run.skipped if entry["id"] in tried]
            return {
                "key": key,
                "new": len(new),
                "ids": new,
                "flagged": len(flagged(all_slices(dataset).select(new), run)),
                "threshold": run.thresholds.image,
                "above": f"{run.thresholds.image:.3g}",
                "skipped": len(skipped),
                "messages": notes([text for text in run.warnings if text not in old_warnings], skipped),
            }

        def show(result: dict[str, Any]) -> Iterator[Any]:
            run = load_run(dataset, key)
            new = all_slices(dataset).select(result["ids"]).sort_by(run.field("score"), reverse=True)
            fields = shown_fields(dataset, key, ctx.active_fields)
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
        return forms.speed_of(ctx, run=load_run(ctx.dataset, key))
    except (RunError, ValueError):
        return ""


def _scored(dataset: Any, key: str) -> set[str]:
    field = field_name(key, "score")
    return set(all_slices(dataset).exists(field).values("id")) if dataset.has_sample_field(field) else set()


def _source(params: dict[str, Any], runs: list[str]) -> str:
    """Return what is compared with; from Python a bank alone says it."""
    return forms.one_of(params, "source", SOURCES, "run" if runs and not params.get("bank") else "bank")


def _key(ctx: foo.ExecutionContext) -> str:
    runs = list_runs(ctx.dataset)
    if runs and _source(ctx.params, runs) == "run":
        return forms.run_key(ctx)
    return forms.text(ctx.params, "key", "segad") or "segad"
