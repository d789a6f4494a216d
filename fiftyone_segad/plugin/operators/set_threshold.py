"""Operator ``set_threshold``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types
import numpy as np
from numpy.typing import NDArray

from ...data.truth import GT_FIELD
from ...engine.calibration import normal_scores
from ...errors import RunError
from ...registry.evaluations import stale_evaluations
from ...registry.fields import flagged
from ...registry.keys import field_name
from ...registry.run import Run, load_run
from ...registry.samples import all_slices
from ...runs.thresholds import set_threshold
from ...scoring.thresholds import choose_thresholds, parse_threshold, rule_in_words
from ...utils.text import pluralize
from .. import execution, forms
from ..current_run import shown_fields
from .base import NOTES, Line, LongOperator, long_config, notes

_HELP = (
    "'fpr:0.05': about 5 of 100 good images are flagged (needs a run with normal images); 'alarms:20': at most that "
    "many of the scored images are; 'quantile:0.95': all but this share of them are; 'f1': the best on the ground "
    "truth, which has then been seen; or a number"
)

_REACH = 10
"""How far beyond the scores a threshold may be, as a multiple of what they span."""


class SetThreshold(LongOperator):
    """Changes the threshold of a run, and what depends on it."""

    config = long_config(
        "set_threshold",
        "set the threshold of a run",
        "Say how many images are flagged; rewrites predictions, masks, segments and regions",
        "tune",
    )
    delegate_from = 1000
    outputs = (
        Line("flagged", "Anomalous"),
        Line("flagged_before", "Before"),
        Line("scored", "Images scored"),
        Line("above", "Those with scores above", "text"),
        NOTES,
    )

    def images(self, ctx: foo.ExecutionContext) -> int:
        try:
            return load_run(ctx.dataset, forms.run_key(ctx)).scored
        except (RunError, ValueError):
            return 0

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        run = forms.load_chosen_run(ctx, inputs)
        if run is not None:
            _add_rule(ctx, inputs, run)

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        rule = _rule(ctx.params)
        if rule is None:
            raise ValueError("threshold is missing: give a rule such as 'fpr:0.05', or a number")
        gt_field = forms.text(ctx.params, "gt_field", GT_FIELD) or GT_FIELD
        dataset, view, key = ctx.dataset, ctx.view, forms.run_key(ctx)
        _check_reach(_scores(dataset, key), rule)

        def work(progress: execution.Progress) -> dict[str, Any]:
            before = len(flagged(dataset, load_run(dataset, key)))
            run = set_threshold(dataset, key, rule, gt_field, progress)
            return {
                "key": key,
                "threshold": run.thresholds.image,
                "above": f"{run.thresholds.image:.3g}",
                "rule": run.thresholds.rule,
                "scored": run.scored,
                "flagged_before": before,
                "flagged": len(flagged(dataset, run)),
                "messages": notes(stale_evaluations(dataset, run)),
            }

        def show(result: dict[str, Any]) -> Iterator[Any]:
            fields = shown_fields(dataset, key, ctx.active_fields)
            yield from execution.show_fields(ctx, dataset, view, fields)

        return self.run(ctx, f"threshold of {key}", work, show, key)

    def next_step(self, result: dict[str, Any]) -> str:
        words = rule_in_words(str(result["rule"])) if "rule" in result else ""
        name = result.get("key")
        return f"The threshold of run '{name}' is now {words or 'the number given'}. Next: look at what is flagged"


def _add_rule(ctx: foo.ExecutionContext, inputs: types.Object, run: Run) -> None:
    usual = run.thresholds.rule
    prop = inputs.str("threshold", default=usual, required=True, label="Threshold", description=_HELP)
    notes: list[str] = []
    try:
        rule = _rule({"threshold": usual, **ctx.params})
        if rule is None:
            return
        if rule == "f1":
            forms.choose_truth(ctx, inputs)
            label = "How many images would be flagged is known when it has run"
        else:
            label, notes = _preview(ctx.dataset, run, rule)
    except ValueError as error:
        forms.refuse(prop, str(error))
        return
    inputs.view("preview", types.Notice(label=label))
    for number, note in enumerate(notes):
        inputs.view(f"note{number}", types.Warning(label=note))


def _preview(dataset: fo.Dataset, run: Run, rule: str | float) -> tuple[str, list[str]]:
    """Return what a rule would flag, and what should be known of it, from scores that are there."""
    scores = _scores(dataset, run.key)
    _check_reach(scores, rule)
    normals = normal_scores(run.store)
    thresholds, notes = choose_thresholds(parse_threshold(rule), scores, normals, np.zeros(0))
    would = int((scores > thresholds.image).sum())
    now = int((scores > run.thresholds.image).sum())
    label = f"{would:,} of {len(scores):,} images would be flagged, those above {thresholds.image:.3g} (now {now:,})"
    if len(normals):
        label += f"; {normals.false_alarm_share(thresholds.image)}"
    return f"{label}. {pluralize(run.scored, 'image')} will be rewritten", notes


def _scores(dataset: fo.Dataset, key: str) -> NDArray[np.float64]:
    scores = all_slices(dataset).values(field_name(key, "score"))
    return np.array([score for score in scores if score is not None], np.float64)


def _check_reach(scores: NDArray[np.float64], rule: str | float) -> None:
    """Refuse a number that is so far from all scores that it must be a mistake.

    Raises:
        ValueError: if it is
    """
    if isinstance(rule, str) or not len(scores):
        return
    low, high = float(scores.min()), float(scores.max())
    reach = _REACH * max(high - low, abs(high), abs(low))
    if not low - reach <= rule <= high + reach:
        raise ValueError(
            f"threshold={rule:g} is far from all scores, which go from {low:.3g} to {high:.3g}; choose one near these"
        )


def _rule(params: dict[str, Any]) -> str | float | None:
    """Return the rule as typed, or a number from Python; None if there is none.

    Raises:
        ValueError: if it is not a rule
    """
    value = params.get("threshold")
    rule = forms.number_or_text(value.strip()) if isinstance(value, str) else value
    if rule is None or rule == "":
        return None
    parse_threshold(rule)
    return rule
