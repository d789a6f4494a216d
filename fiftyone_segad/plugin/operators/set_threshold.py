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
from ...registry.run import Run
from ...registry.samples import all_slices
from ...runs.thresholds import set_threshold
from ...scoring.thresholds import DEFAULT_FPR, choose_thresholds, parse_threshold, rule_in_words
from ...utils.text import pluralize
from .. import execution, forms
from ..slices import by_slice, load_chosen_runs, runs_of, shown_of_runs, thresholds_of
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
            return sum(run.scored for run in runs_of(ctx.dataset, forms.run_key(ctx)).values())
        except (RunError, ValueError):
            return 0

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        runs = load_chosen_runs(ctx, inputs)
        if runs is not None:
            _add_rule(ctx, inputs, runs)

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        rule = _rule(ctx.params)
        if rule is None:
            raise ValueError("threshold is missing: give a rule such as 'fpr:0.05', or a number")
        gt_field = forms.text(ctx.params, "gt_field", GT_FIELD) or GT_FIELD
        dataset, view, key = ctx.dataset, ctx.view, forms.run_key(ctx)
        for run in runs_of(dataset, key).values():
            _check_reach(_scores(dataset, run.key), rule)

        def work(progress: execution.Progress) -> dict[str, Any]:
            before = sum(len(flagged(dataset, run)) for run in runs_of(dataset, key).values())
            set_threshold(dataset, key, rule, gt_field, progress)
            runs = runs_of(dataset, key)
            return {
                "key": key,
                "threshold": thresholds_of(runs),
                "above": by_slice(runs, lambda run: f"{run.thresholds.image:.3g}"),
                "rule": next(iter(runs.values())).thresholds.rule,
                "scored": sum(run.scored for run in runs.values()),
                "flagged_before": before,
                "flagged": sum(len(flagged(dataset, run)) for run in runs.values()),
                "messages": notes([text for run in runs.values() for text in stale_evaluations(dataset, run)]),
            }

        def show(result: dict[str, Any]) -> Iterator[Any]:
            fields = shown_of_runs(dataset, key, ctx.active_fields)
            yield from execution.show_fields(ctx, dataset, view, fields)

        return self.run(ctx, f"threshold of {key}", work, show, key)

    def next_step(self, result: dict[str, Any]) -> str:
        words = rule_in_words(str(result["rule"])) if "rule" in result else ""
        name = result.get("key")
        return f"The threshold of run '{name}' is now {words or 'the number given'}. Next: look at what is flagged"


def _add_rule(ctx: foo.ExecutionContext, inputs: types.Object, runs: dict[str, Run]) -> None:
    usual = next(iter(runs.values())).thresholds.rule
    if len(runs) > 1 and parse_threshold(usual).kind == "value":
        usual = f"fpr:{DEFAULT_FPR}"
    prop = inputs.str("threshold", default=usual, required=True, label="Threshold", description=_HELP)
    previews: list[tuple[str, list[str]]] = []
    try:
        rule = _rule({"threshold": usual, **ctx.params})
        if rule is None:
            return
        if rule == "f1":
            forms.choose_truth(ctx, inputs)
            if forms.truth_choices(ctx.dataset):
                previews = [("How many images would be flagged is known when it has run", [])]
        elif len(runs) > 1 and parse_threshold(rule).kind == "value":
            forms.refuse(prop, "Slices have scales of their own: give a rule, or choose the run of one slice")
            return
        else:
            previews = [_preview(ctx.dataset, run, rule, name) for name, run in runs.items()]
    except ValueError as error:
        forms.refuse(prop, str(error))
        return
    for number, (label, _) in enumerate(previews):
        inputs.view(f"preview{number or ''}", types.Notice(label=label))
    for number, note in enumerate(note for _, warnings in previews for note in warnings):
        inputs.view(f"note{number}", types.Warning(label=note))


def _preview(dataset: fo.Dataset, run: Run, rule: str | float, slice: str) -> tuple[str, list[str]]:
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
    of_slice = f"{slice}: " if slice else ""
    return f"{of_slice}{label}. {pluralize(run.scored, 'image')} will be rewritten", [of_slice + note for note in notes]


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
