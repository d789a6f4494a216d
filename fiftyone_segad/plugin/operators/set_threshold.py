"""Operator ``set_threshold``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types
import numpy as np

from ...data.truth import GT_FIELD
from ...errors import RunError
from ...registry.fields import flagged
from ...registry.run import Run, load_run
from ...runs.thresholds import set_threshold
from ...scoring.thresholds import choose_thresholds, parse_threshold
from ...utils.text import pluralize
from .. import execution, forms, times

_HELP = (
    "'fpr:0.01': at most this share of normal images is expected to be flagged (needs a run with normal images); "
    "'quantile:0.95': all but this share of the scored images are flagged; 'f1': the best on the ground truth, which "
    "has then been seen; or a number"
)

_DELEGATE_ABOVE = 1000  # images; rewriting them takes minutes


class SetThreshold(foo.Operator):
    """Changes the threshold of a run, and what depends on it."""

    @property
    def config(self) -> foo.OperatorConfig:
        return execution.config(
            "set_threshold",
            "Anomalies: set the threshold of a run",
            "Say how many images are flagged; rewrites predictions, masks, segments and regions",
            "tune",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        key = forms.choose_run(ctx, inputs)
        if key is not None:
            _add_rule(ctx, inputs, key)
        return types.Property(inputs, view=types.View(label="Set the threshold of a run"))

    def resolve_execution_options(self, ctx: foo.ExecutionContext) -> foo.ExecutionOptions:
        """Offers delegated execution where it takes minutes."""
        long = ctx.dataset is not None and _scored(ctx) > _DELEGATE_ABOVE
        return foo.ExecutionOptions(
            allow_immediate_execution=True, allow_delegated_execution=long, default_choice_to_delegated=long
        )

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        """Change the run."""
        dataset, view, key = ctx.dataset, ctx.view, forms.run_key(ctx)
        rule = _rule(ctx.params)
        if rule is None:
            raise ValueError("threshold is missing: give a rule such as 'fpr:0.01', or a number")
        gt_field = forms.text(ctx.params, "gt_field", GT_FIELD) or GT_FIELD

        def work(progress: execution.Progress) -> dict[str, Any]:
            before = len(flagged(dataset, load_run(dataset, key)))
            run = set_threshold(dataset, key, rule, gt_field, progress)
            return {
                "key": key,
                "threshold": run.thresholds.image,
                "above": f"{run.thresholds.image:.4g}",
                "rule": run.thresholds.rule,
                "scored": run.scored,
                "flagged_before": before,
                "flagged": len(flagged(dataset, run)),
            }

        def after(result: dict[str, Any]) -> Iterator[Any]:
            yield ctx.ops.reload_dataset()
            yield ctx.ops.set_view(view)

        return execution.execute(ctx, f"threshold of {key}", work, _outputs, after)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        return _outputs(ctx.results)


def _add_rule(ctx: foo.ExecutionContext, inputs: types.Object, key: str) -> None:
    try:
        run = load_run(ctx.dataset, key)
    except RunError as error:
        forms.stop(inputs, "gone", "The run cannot be changed", str(error))
        return
    usual = run.thresholds.rule
    prop = inputs.str("threshold", default=usual, required=True, label="Threshold", description=_HELP)
    given = {"threshold": usual, **ctx.params}
    notes: list[str] = []
    try:
        rule = _rule(given)
        if rule is None:
            return
        if rule == "f1":
            forms.choose_truth(ctx, inputs)
            label = "How many images would be flagged is known when it has run"
        else:
            label, notes = _preview(ctx.dataset, run, rule)
    except ValueError as error:
        prop.invalid, prop.error_message = True, str(error)
        return
    inputs.view("preview", types.Notice(label=label))
    for number, note in enumerate(notes):
        inputs.view(f"note{number}", types.Warning(label=note))


def _preview(dataset: fo.Dataset, run: Run, rule: str | float) -> tuple[str, list[str]]:
    """What a rule would flag, and what should be known of it, from scores that are there."""
    scores = np.array([score for score in dataset.values(run.field("score")) if score is not None], np.float64)
    normals = np.array([record.image_score for record in run.store.normals], np.float64)
    thresholds, notes = choose_thresholds(parse_threshold(rule), scores, normals, np.zeros(0))
    flagged = int((scores > thresholds.image).sum())
    now = int((scores > run.thresholds.image).sum())
    label = f"{flagged:,} of {len(scores):,} images would be flagged, those above {thresholds.image:.4g} (now {now:,})"
    return f"{label}. {pluralize(run.scored, 'image')} will be rewritten{times.threshold(run, flagged)}", notes


def _rule(params: dict[str, Any]) -> str | float | None:
    """The rule as typed, or a number from Python; None if there is none.

    Raises:
        ValueError: if it is not a rule
    """
    value = params.get("threshold")
    rule = forms.number_or_text(value.strip()) if isinstance(value, str) else value
    if rule is None or rule == "":
        return None
    parse_threshold(rule)
    return rule


def _scored(ctx: foo.ExecutionContext) -> int:
    try:
        return load_run(ctx.dataset, forms.run_key(ctx)).scored
    except (RunError, ValueError):
        return 0


def _outputs(result: dict[str, Any]) -> types.Property:
    form = types.Object()
    form.int("flagged", label="Anomalous")
    form.int("flagged_before", label="Before")
    form.int("scored", label="Images scored")
    form.str("above", label="Those with scores above")
    label = f"Run '{result.get('key')}' now follows '{result.get('rule')}'. Next: look at what is flagged"
    return forms.with_next_step(form, label)
