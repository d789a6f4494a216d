"""``drift_over_time``: how p-values, alarms and what people say of them go by day, shift or batch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from tabulate import tabulate

from ..registry.keys import ANOMALOUS, NORMAL
from ..registry.run import Run, load_record
from ..registry.samples import all_slices, check_collection
from ..review.mark_field import Mark, read_marks
from ..review.queue import match_marks
from ..scoring.periods import LIGHT, MORE, PARTS, UNLIKE, Judgement, PeriodValues, judge_periods
from ..utils.text import pluralize

if TYPE_CHECKING:
    import plotly.graph_objects as go

_FORMATS = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}

EVERY = tuple(_FORMATS)
"""Lengths of the periods of a field of times."""

_MOST_PERIODS = 366

_TEXTS = {
    LIGHT: "the light changed (or the lens, camera or product): parts that are accepted look more unusual than in "
    "'{compared}' (Kolmogorov-Smirnov {shift:.2f}, p = {shift_p:.2g}). Restore it, or add normal images of now; until "
    "then alarms say little of the parts",
    PARTS: "the parts got worse: {share:.1%} are alarms, more than in '{compared}' (Fisher, p = {alarms_p:.2g}), while "
    "parts that are accepted look as before (Kolmogorov-Smirnov {shift:.2f}, p = {shift_p:.2g})",
    MORE: "{share:.1%} are alarms, more than in '{compared}' (Fisher, p = {alarms_p:.2g}), and nothing tells whether "
    "the light or the parts are the cause (Kolmogorov-Smirnov {shift:.2f}, p = {shift_p:.2g}); look at the alarms",
    UNLIKE: "its accepted parts look more unusual than the normal images of the run (Kolmogorov-Smirnov {shift:.2f}, "
    "p = {shift_p:.2g}); the others are compared with it all the same",
}


@dataclass(frozen=True)
class Period:
    """A day, a shift or a batch.

    Attributes:
        name: the value of the field, or the day
        ids: ids of its samples
        alarms: how many of them are flagged
        overruled: alarms that people called normal
        accepted: parts taken for good: not flagged, or overruled, and not marked as anomalous
        quartiles: of the p-values of accepted parts; None without any
        judgement: what the tests say
    """

    name: str
    ids: list[str]
    alarms: int
    overruled: int
    accepted: int
    quartiles: tuple[float, float, float] | None
    judgement: Judgement

    @property
    def alarm_share(self) -> float:
        """Share of the images that are alarms, in [0, 1]."""
        return self.alarms / len(self.ids)

    @property
    def overruled_share(self) -> float | None:
        """Share of the alarms that people called normal, in [0, 1]; None without alarms."""
        return self.overruled / self.alarms if self.alarms else None

    @property
    def verdict(self) -> str:
        """``steady``, ``the light changed``, ``the parts got worse``, ``more alarms`` (of either), ``too few images``,
        or of the period that the others are compared with ``unlike the normal images``."""
        return self.judgement.verdict


@dataclass(frozen=True)
class DriftOverTime:
    """The periods of a run.

    Attributes:
        samples: the samples
        key: the run's key
        by: the field that tells the periods
        compared: name of the period that the others are compared with
        periods: the periods, in their order
        left_out: images without a value in the field
    """

    samples: Samples
    key: str
    by: str
    compared: str
    periods: list[Period]
    left_out: int

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per period: numbers, shares, quartiles of p-values, the tests and the verdict."""
        return [
            {
                "period": period.name,
                "images": len(period.ids),
                "alarms": period.alarms,
                "alarm_share": period.alarm_share,
                "overruled": period.overruled,
                "overruled_share": period.overruled_share,
                "accepted": period.accepted,
                **dict(zip(("p_low", "p_median", "p_high"), period.quartiles or (None,) * 3, strict=True)),
                "shift": period.judgement.shift,
                "shift_p": period.judgement.shift_p,
                "alarms_p": period.judgement.alarms_p,
                "verdict": period.verdict,
            }
            for period in self.periods
        ]

    def messages(self) -> list[str]:
        """Say what changed when, in sentences; none if nothing did."""
        return [
            f"{period.name}: "
            + _TEXTS[period.verdict].format(compared=self.compared, share=period.alarm_share, **vars(period.judgement))
            for period in self.periods
            if period.verdict in _TEXTS
        ]

    def view(self, period: str) -> fo.DatasetView:
        """Return the samples of a period, as a view.

        Raises:
            ValueError: if there is no such period
        """
        for one in self.periods:
            if one.name == period:
                return self.samples.select(one.ids, ordered=True)
        raise ValueError(f"There is no period {period!r}; there are {[one.name for one in self.periods]}")

    def plot(self) -> go.Figure:
        """Plot p-values of accepted parts, alarms and overruled ones by period; points have the period's ids."""
        from ..visualization.periods_plot import plot_periods

        return plot_periods(self.periods, self.by)

    def __str__(self) -> str:
        columns = (
            "period",
            "images",
            "alarms",
            "overruled",
            "p_low",
            "p_median",
            "p_high",
            "shift",
            "shift_p",
            "verdict",
        )
        body = [[_cell(row[name]) for name in columns] for row in self.rows()]
        lines = [tabulate(body, [name.replace("_", "\n") for name in columns], disable_numparse=True, stralign="right")]
        lines += self.messages()
        if self.left_out:
            lines.append(f"{pluralize(self.left_out, 'image has', 'images have')} no value in '{self.by}'")
        return "\n".join(lines)


def drift_over_time(
    samples: Samples, key: str = "segad", by: str = "created_at", every: str = "day", compared: str | None = None
) -> DriftOverTime:
    """Follow a run over days, shifts or batches, and tell whether the light changed or the parts got worse.

    If only the light changes, parts that are accepted look more unusual, whether there are more alarms or not; if the
    parts get worse, there are more alarms while accepted parts look as before. Accepted are those that are not flagged,
    and those of which people said that they are normal. Each period is compared with the first one by two tests, whose
    chance to tell of a change where there is none is 1 % each for all periods together.

    Args:
        samples: the dataset, or a view of it; leave out the normal images that the run compares with
        key ("segad"): the run's key
        by ("created_at"): a field of times, or one with a value for each shift or batch, in the order of the values
        every ("day"): length of the periods of a field of times: ``hour``, ``day``, ``week`` or ``month``
        compared (None): name of the period that the others are compared with; by default the first

    Returns:
        the periods, with a table, sentences, a plot, and a view of each

    Raises:
        ValueError: if a parameter is wrong, or no image has a p-value and a value in the field

    Examples:
        >>> drift = segad.drift_over_time(line, "segad", by="shift")  # doctest: +SKIP
        >>> print(drift)  # doctest: +SKIP
        >>> drift.messages()  # doctest: +SKIP
        ["night 12: the light changed ... (Kolmogorov-Smirnov 0.41, p = 3e-06). ..."]
    """
    dataset = check_collection(samples, "samples")
    run = load_record(dataset, key)
    if every not in _FORMATS:
        raise ValueError(f"every={every!r} must be one of {list(_FORMATS)}")
    if dataset.get_field(by) is None:
        raise ValueError(f"by={by!r} is no field of dataset '{dataset.name}'; name one of times, shifts or batches")
    images, left_out = _read(all_slices(samples), run, by, every)
    names = sorted(images, key=_order)
    if compared not in (None, *names):
        raise ValueError(f"compared={compared!r} is none of the periods; there are {names}")
    first = names[0] if compared is None else compared
    values = [_values(images[name]) for name in names]
    alarm_p = max((image.p_value for one in images.values() for image in one if image.flagged), default=0.0)
    judgements = judge_periods(values, names.index(first), alarm_p)
    periods = [
        _period(name, images[name], accepted, judgement)
        for name, accepted, judgement in zip(names, values, judgements, strict=True)
    ]
    return DriftOverTime(samples, key, by, first, periods, left_out)


@dataclass(frozen=True)
class _Image:
    """An image of a period.

    Attributes:
        id: the sample's id
        p_value: its p-value
        flagged: whether it is an alarm
        said: what people said of it, ``normal`` or ``anomalous``; None if nothing of all of it
    """

    id: str
    p_value: float
    flagged: bool
    said: str | None

    @property
    def overruled(self) -> bool:
        return self.flagged and self.said == NORMAL

    @property
    def accepted(self) -> bool:
        return self.said == NORMAL or (not self.flagged and self.said is None)


def _read(samples: Samples, run: Run, by: str, every: str) -> tuple[dict[str, list[_Image]], int]:
    """Read the images of each period, and count those that have no value in the field."""
    prediction, regions = run.field("pred"), f"{run.field('regions')}.detections.bounding_box"
    if not samples.has_sample_field(prediction):
        raise ValueError(f"The field '{prediction}' is gone; compute run '{run.key}' again")
    scored = samples.exists(f"{prediction}.p_value")
    columns = scored.values(["id", by, f"{prediction}.p_value", f"{prediction}.label", regions])
    marks: dict[str, list[Mark]] = {}
    for mark in read_marks(scored, run.key, None):
        marks.setdefault(mark.sample_id, []).append(mark)
    images: dict[str, list[_Image]] = {}
    left_out = 0
    for id, value, p_value, label, boxes in zip(*columns, strict=True):
        if value is None:
            left_out += 1
            continue
        image = _Image(id, p_value, label == ANOMALOUS, _said(boxes or [], marks.get(id, [])))
        images.setdefault(_name(value, by, every), []).append(image)
        if len(images) > _MOST_PERIODS:
            raise ValueError(
                f"by={by!r} has more than {_MOST_PERIODS} different values; name a field of shifts or batches, or of "
                "times with a longer every=..."
            )
    if not images:
        raise ValueError(
            f"No image that run '{run.key}' scored has a value in by={by!r}; fill the field, or name another"
        )
    return images, left_out


def _said(boxes: Sequence[Sequence[float]], marks: Sequence[Mark]) -> str | None:
    """Return what people said of an image: anomalous if of a place in it, normal only if of all that is predicted."""
    if not marks:
        return None
    places = np.array(boxes if len(boxes) else [[0.0, 0.0, 1.0, 1.0]])  # [n, 4]; without alarms the complete image
    deciding = match_marks(places, np.array([mark.box for mark in marks]))  # [n]
    labels = {marks[number].label if number >= 0 else None for number in deciding}
    if ANOMALOUS in labels or (not len(boxes) and any(mark.label == ANOMALOUS for mark in marks)):
        return ANOMALOUS
    return NORMAL if labels == {NORMAL} else None


def _name(value: Any, by: str, every: str) -> str:
    """Name the period of a value."""
    if isinstance(value, (datetime, date)):
        return value.strftime(_FORMATS[every])
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, fo.Classification):
        return str(value.label)
    raise ValueError(
        f"by={by!r} holds {type(value).__name__}, by which no periods are told; name a field of times or texts"
    )


def _order(name: str) -> list[tuple[bool, float, str]]:
    """Return a key by which numbers within names are in their order: "batch 2" before "batch 10"."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [(index % 2 == 1, float(part) if index % 2 else 0.0, part) for index, part in enumerate(parts)]


def _values(images: Sequence[_Image]) -> PeriodValues:
    accepted = np.array([image.p_value for image in images if image.accepted], np.float64)
    return PeriodValues(accepted, sum(image.flagged and not image.overruled for image in images))


def _period(name: str, images: Sequence[_Image], values: PeriodValues, judgement: Judgement) -> Period:
    quartiles = None
    if len(values.accepted):
        low, median, high = np.quantile(values.accepted, [0.25, 0.5, 0.75]).tolist()
        quartiles = (low, median, high)
    return Period(
        name,
        [image.id for image in images],
        sum(image.flagged for image in images),
        sum(image.overruled for image in images),
        len(values.accepted),
        quartiles,
        judgement,
    )


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
