"""What a page of the panel shows: a run with its scores, the threshold that is looked at, and a tab."""

from __future__ import annotations

import json
import time
import zlib
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass

import fiftyone as fo
import fiftyone.operators as foo

from ...engine.dirty_bank import DIRTY_BANK
from ...errors import RunError, SegadError
from ...evaluation.drift_over_time import EVERY
from ...registry.evaluations import stale_evaluations
from ...registry.keys import ANOMALOUS, contours_field, list_evaluations, list_runs, review_field
from ...registry.parts import PartsRecord, decisions_of_run
from ...registry.run import Run, load_record
from ...registry.samples import all_slices
from ...review.families import new_kinds
from ...review.learnt import MARKS, unlearnt_marks
from ...review.mark_field import read_marks
from ...review.score_table import ScoreTable
from ...review.triage import read_score_table
from ...utils.text import pluralize
from ..current_run import current_run_of
from ..wording import in_app_words
from . import page_state

TABS = {"scores": "Scores", "curves": "Curves", "segments": "Segments", "families": "Families", "time": "Over time"}
FIRST_TAB = next(iter(TABS))

_STEPS = 400
"""Places of the slider."""

_CACHE_TTL = 30.0
"""Seconds for which scores are not read again; a slider asks many times a second."""

_unlearnt_counts: dict[tuple[str | None, ...], int | None] = {}
"""Number of marks that a run has not learnt, by dataset, run, what it has learnt, and the marks; the last one only."""

_MOST_CHOICES = 200
"""Views that are remembered."""

_choices: OrderedDict[str, tuple[str, float]] = OrderedDict()
"""Choices that buttons have set grids to, each with its threshold, by the stages of their views."""

_tables: dict[tuple[str, ...], tuple[float, ScoreTable]] = {}
"""Score tables, each with the time at which it was read."""


@dataclass(frozen=True)
class RunView:
    """What a page shows.

    Attributes:
        run: the run
        runs: keys of all runs
        table: its scores
        threshold: the one that is looked at; the run's own until the slider is moved
        tab: scores, curves, segments, families or time
        by: the field that tells the periods of the tab ``time``
        every: length of these periods, where the field is one of times
        sample_id: the sample that is open or selected; None if there is none
        sample_marked: whether a person has marked it as anomalous
        lines: whether the grid shows the lines of the run's maps
        choice: what a button has set the grid to, if it still shows that; else None
        notes: what should be known of it: that its folder is gone, evaluations are stale, there is drift, or normal
            images seem to be defective
        dirty: whether the last of these is said
        parts: what decisions on its parts rest on; None if there are none
    """

    run: Run
    runs: list[str]
    table: ScoreTable
    threshold: float
    tab: str
    by: str
    every: str
    sample_id: str | None
    sample_marked: bool
    lines: bool
    choice: str | None
    notes: list[str]
    dirty: bool
    parts: PartsRecord | None = None

    @property
    def span(self) -> tuple[float, float]:
        """Ends of the slider and the histogram: those of the scores, and of a threshold that is not far from them."""
        low, high = self.table.span
        threshold, reach = self.run.thresholds.image, max(high - low, 1e-6)
        if not low - reach <= threshold <= high + reach:
            return low, high
        return min(low, threshold), max(high, threshold)

    @property
    def laid_straight(self) -> bool:
        """Whether the run has compared parts that were laid straight."""
        with suppress(RunError):  # a damaged file, of which those who need it tell
            return self.run.aligned
        return False

    @property
    def sample_score(self) -> float | None:
        """Score of the sample that is open or selected."""
        return None if self.sample_id is None else self.table.score_of(self.sample_id)

    @property
    def sample_missed(self) -> bool:
        """Whether the sample that is open or selected has a defect, and the run does not flag it."""
        score = self.sample_score
        if score is None or score > self.run.thresholds.image or self.run.method != "reference":
            return False
        return bool((self.table.truth[self.table.ids == self.sample_id] == ANOMALOUS).any()) or self.sample_marked

    @property
    def step(self) -> float:
        """Step of the slider."""
        low, high = self.span
        return max(high - low, 1e-6) / _STEPS

    @property
    def moved(self) -> bool:
        """Whether the slider is elsewhere than at the run's threshold, which it may round."""
        return abs(self.threshold - self.run.thresholds.image) > self.step / 2


def run_view_of(ctx: foo.ExecutionContext) -> RunView | None:
    """Return what the page shows, which is the current run; None where there is nothing to show."""
    if ctx.dataset is None:
        return None
    state = ctx.panel.state
    runs, key = list_runs(ctx.dataset), current_run_of(ctx, state.run)
    if key is not None and state.run != key:
        if state.run in runs and state.shown not in (None, state.run):
            key = state.run  # a person has chosen it on this page, and the event that says so is on its way
        else:  # another page, or an operator, has chosen one
            state.run = key
            state.why = None
    if state.shown != key:
        state.shown = key
    run = None if key is None else load_shown_run(ctx)
    if isinstance(run, str) or run is None:
        return None
    name = slider_name(run)
    if not isinstance(state.get(name), (int, float)):
        page_state.change(state, name, run.thresholds.image)
    threshold = float(state.get(name))
    dirty = [warning for warning in run.warnings if warning.startswith(DIRTY_BANK)]
    sample_id = sample_of(ctx)
    return RunView(
        run=run,
        runs=runs,
        table=score_table(ctx.dataset, run),
        threshold=threshold,
        tab=state.tab if state.tab in TABS else FIRST_TAB,
        by=state.by if ctx.dataset.get_field(str(state.by)) is not None else "created_at",
        every=state.every if state.every in EVERY else "day",
        sample_id=sample_id,
        sample_marked=sample_id is not None and _is_marked(ctx.dataset, run.key, sample_id),
        lines=contours_field(run.key) in ctx.active_fields,
        choice=_choice_of(ctx, threshold),
        notes=[
            *_gone(run),
            *_new_kinds(run),
            *_unlearnt(ctx.dataset, run),
            *stale_evaluations(ctx.dataset, run),
            *([str(run.drift)] if run.drift else []),
            *dirty,
        ],
        dirty=bool(dirty),
        parts=decisions_of_run(ctx.dataset, run.key),
    )


def _is_marked(dataset: fo.Dataset, key: str, sample_id: str) -> bool:
    return bool(read_marks(all_slices(dataset).select([sample_id]), key, ANOMALOUS))


def _new_kinds(run: Run) -> list[str]:
    sentence = new_kinds(run)
    return [f"{sentence}: look at them in the tab 'Families'"] if sentence else []


def sample_of(ctx: foo.ExecutionContext) -> str | None:
    """Return the id of the sample that is open, else of the first that is selected (of a patch: its sample)."""
    id = ctx.current_sample or (ctx.selected[0] if ctx.selected else None)
    if id is None:
        return None
    if ctx.view is not None and ctx.view._is_patches:
        owners = ctx.view.select([id]).values("sample_id")
        return owners[0] if owners else None
    return str(id)


def in_modal(ctx: foo.ExecutionContext) -> bool:
    """Return whether the page shows the panel beside an open sample: only those of the grid are among its spaces."""
    in_grid = f'"component_id": "{ctx.panel_id}"' in json.dumps(ctx.request_params.get("spaces"))
    return bool(ctx.current_sample) and not in_grid


def remember_choice(samples: fo.DatasetView, choice: str, threshold: float) -> None:
    """Remember which choice a view is, so that it is highlighted wherever a grid shows it."""
    stages = _stages_text(samples)
    _choices[stages] = choice, threshold
    _choices.move_to_end(stages)
    while len(_choices) > _MOST_CHOICES:
        _choices.popitem(last=False)


def _choice_of(ctx: foo.ExecutionContext, threshold: float) -> str | None:
    """Return the choice that the grid shows, unless it was made at another threshold."""
    choice, at = _choices.get(_stages_text(ctx.view), (None, threshold))
    return choice if at == threshold or choice == "highest" else None


def _stages_text(view: fo.DatasetView) -> str:
    return json.dumps([view._dataset.name, view._serialize(include_uuids=False)], default=str, sort_keys=True)


def _unlearnt(dataset: fo.Dataset, run: Run) -> list[str]:
    """Tell of marks that the run has not learnt, if it can learn at all."""
    field = f"{review_field(run.key)}.detections"
    if run.method != "reference" or not dataset.has_sample_field(review_field(run.key)) or not run.store.exists():
        return []
    learnt = run.settings.get(MARKS)
    marks = (
        str(dataset._doc.id),
        run.key,
        learnt,
        *all_slices(dataset).exists(field).values(f"{field}.id", unwind=True),
    )
    if marks not in _unlearnt_counts:  # counting takes a while for hundreds of marks, and the page polls
        _unlearnt_counts.clear()
        _unlearnt_counts[marks] = unlearnt_marks(dataset, run.key, learnt)
    count = _unlearnt_counts[marks]
    if count is None:
        return ["Marks that the run has learnt were taken back or replaced: 'Rescore' forgets them"]
    return [f"{pluralize(count, 'mark is', 'marks are')} not yet learnt: 'Rescore' learns from them"] if count else []


def _gone(run: Run) -> list[str]:
    if run.store.exists():
        return []
    return [
        f"The folder of run '{run.key}' is gone: what is in fields can be looked at, marked and evaluated, and nothing "
        "else. Bring it back from where it is by export_run() and import_run()"
    ]


def load_shown_run(ctx: foo.ExecutionContext) -> Run | str:
    """Load the run that the page shows, or return why it cannot be shown."""
    try:
        return load_record(ctx.dataset, ctx.panel.state.run)
    except (SegadError, ValueError) as error:
        return in_app_words(str(error))


def slider_name(run: Run) -> str:
    """Return where the App keeps the slider's value: another place once the run has another threshold.

    A value that was chosen beside an older threshold counts no more, in any tab of the browser.
    """
    return f"slider_{zlib.crc32(f'{run.folder} {run.thresholds.image!r}'.encode()):08x}"


def score_table(dataset: fo.Dataset, run: Run) -> ScoreTable:
    """Return the scores of a run, read again if they may have changed."""
    key = (str(dataset._doc.id), run.key, run.folder, *list_evaluations(dataset))
    now = time.monotonic()
    for old in [key for key, (read, _) in _tables.items() if now - read > _CACHE_TTL]:
        del _tables[old]
    if key not in _tables:
        _tables[key] = (now, read_score_table(dataset, run))
    return _tables[key][1]


def forget_tables() -> None:
    """Drop the scores that were read, after something has been written."""
    _tables.clear()
