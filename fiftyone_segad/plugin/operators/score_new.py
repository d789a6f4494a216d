"""Operator ``score_new``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...errors import RunError
from ...registry.fields import flagged
from ...registry.run import check_key, field_name, list_runs, load_run
from ...runs.score_new import score_new
from .. import execution, forms

SOURCES = {
    "run": "A run of this dataset",
    "bank": "A bank file, from this or another machine",
}

_DELEGATE_FROM = 200  # images; from there on it takes minutes


class ScoreNew(foo.Operator):
    """Scores images that came after a run, or with a bank file."""

    @property
    def config(self) -> foo.OperatorConfig:
        return execution.config(
            "score_new",
            "Anomalies: score new images",
            "Score images that were added later against a run or a bank file, without fitting anew",
            "playlist_add",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        if forms.has_dataset(ctx, inputs):
            _add_inputs(ctx, inputs)
        return types.Property(inputs, view=types.View(label="Score new images"))

    def resolve_execution_options(self, ctx: foo.ExecutionContext) -> foo.ExecutionOptions:
        """Offers delegated execution first where it would take minutes."""
        long = ctx.dataset is not None and len(ctx.target_view()) >= _DELEGATE_FROM
        return execution.options(long)

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        """Scores, and shows the new images by score."""
        samples, dataset = ctx.target_view(), ctx.dataset
        source, key = _source(ctx.params, list_runs(dataset)), _key(ctx)
        bank = forms.text(ctx.params, "bank") if source == "bank" else None
        if source == "bank" and bank is None:
            raise ValueError("bank is missing: name the bank's file")

        def work(progress: execution.Progress) -> dict[str, Any]:
            before = _scored(dataset, key)
            run = score_new(samples, key, bank=bank, progress=progress)
            new = [id for id in samples.exists(run.field("score")).values("id") if id not in before]
            tried = set(samples.values("id"))
            skipped = [entry for entry in run.skipped if entry["id"] in tried]
            return {
                "key": key,
                "new": len(new),
                "ids": new,
                "flagged": len(flagged(dataset.select(new), run)),
                "threshold": run.thresholds.image,
                "above": f"{run.thresholds.image:.4g}",
                "skipped": len(skipped),
                "messages": "\n".join(f"{entry['filepath']}: {entry['reason']}" for entry in skipped[:10]),
            }

        def after(result: dict[str, Any]) -> Iterator[Any]:
            run = load_run(dataset, key)
            new = dataset.select(result["ids"]).sort_by(run.field("score"), reverse=True)
            fields = [run.field(name) for name in ("score", "pred", "map")]
            yield from execution.show(ctx, dataset, new if result["ids"] else ctx.view, fields)

        return execution.execute(ctx, f"new images of {key}", work, _outputs, after)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        return _outputs(ctx.results)


def _add_inputs(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    runs = list_runs(ctx.dataset)
    choices = types.RadioGroup()
    for name in SOURCES if runs else ["bank"]:
        choices.add_choice(name, label=SOURCES[name])
    source = _source(ctx.params, runs)
    inputs.enum("source", choices.values(), default=source, label="Compare with", view=choices)
    if source == "run":
        key = forms.choose_run(ctx, inputs)
    else:
        file = inputs.str(
            "bank",
            required=True,
            label="Bank file",
            description="Full path of a file that 'Save the bank of a run' made, on the machine that runs the App",
        )
        path = forms.text(ctx.params, "bank")
        if path is not None and not Path(path).expanduser().is_file():
            file.invalid, file.error_message = True, f"There is no file '{path}'"
        prop = inputs.str("key", default="segad", label="Key", description="Names the run, new or made with this bank")
        key = forms.text(ctx.params, "key", "segad") or "segad"
        if key not in runs:
            forms.invalid(prop, lambda: check_key(ctx.dataset, key, overwrite=False))
    if key is not None:
        view = ctx.target_view()
        scored = _scored(ctx.dataset, key)
        new = [path for id, path in zip(*view.values(["id", "filepath"]), strict=True) if id not in scored]
        label = f"{len(new)} of {len(view)} images have no score in '{key}' yet{_time(ctx, key, new)}"
        inputs.view("count", types.Notice(label=label))


def _time(ctx: foo.ExecutionContext, key: str, new: list[str]) -> str:
    """How long it takes, where the run is known that says with what."""
    try:
        run = load_run(ctx.dataset, key)
    except (RunError, ValueError):
        return ""
    return forms.reading_time(lambda: new, ctx.params, run.method, work=2.0, run=run)


def _scored(dataset: Any, key: str) -> set[str]:
    field = field_name(key, "score")
    return set(dataset.exists(field).values("id")) if dataset.has_sample_field(field) else set()


def _source(params: dict[str, Any], runs: list[str]) -> str:
    """What is compared with; from Python a bank alone says it."""
    usual = "run" if runs and not params.get("bank") else "bank"
    source = forms.text(params, "source", usual) or usual
    if source not in SOURCES:
        raise ValueError(f"source={source!r} must be one of {list(SOURCES)}")
    return source


def _key(ctx: foo.ExecutionContext) -> str:
    runs = list_runs(ctx.dataset)
    usual = runs[-1] if runs and _source(ctx.params, runs) == "run" else "segad"
    return forms.text(ctx.params, "key", usual) or usual


def _outputs(result: dict[str, Any]) -> types.Property:
    form = types.Object()
    form.int("new", label="New images scored")
    form.int("flagged", label="Anomalous among them")
    form.str("above", label="Those with scores above, as before")
    if result.get("skipped"):
        form.int("skipped", label=f"Images skipped (tag {result['key']}_skipped)")
    if result.get("messages"):
        form.str("messages", label="Please note", view=types.MarkdownView())
    label = "Next: look at the highest scores among the new images"
    if not result.get("new"):
        label = "There was nothing new to score. Clear the view's filters if you expected something"
    return forms.with_next_step(form, label)
