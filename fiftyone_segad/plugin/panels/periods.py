"""The tab *Over time* of the panel: how alarms and accepted parts go by day, shift or batch."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...errors import SegadError
from ...evaluation.drift_over_time import EVERY, DriftOverTime, drift_over_time
from ...registry.keys import written_fields
from ...registry.samples import all_slices
from ...review.triage import reference_ids
from ...utils.text import pluralize
from ..wording import in_app_words
from .figures import PLOT_CONFIG
from .run_view import RunView

_TIMES = (fo.DateTimeField, fo.DateField)
_NAMES = (fo.StringField, fo.IntField)
_OTHERS = ("id", "filepath", "last_modified_at")
"""Fields that tell no periods."""

_HELP = "Each day, shift or batch beside the first one. Click a point or a bar to see its images."


def period_fields(dataset: fo.Dataset) -> list[str]:
    """Return the fields that may tell the periods: times, then names, numbers and labels."""
    schema = {name: field for name, field in dataset.get_field_schema().items() if name not in _OTHERS}
    times = [name for name, field in schema.items() if isinstance(field, _TIMES)]
    names = [
        name
        for name, field in schema.items()
        if isinstance(field, _NAMES)
        or (isinstance(field, fo.EmbeddedDocumentField) and field.document_type is fo.Classification)
    ]
    written = written_fields(dataset)
    return [name for name in (*times, *names) if name not in written]


def periods_of(dataset: fo.Dataset, view: RunView) -> DriftOverTime | str | None:
    """Return the periods of the run, or why there are none; None where they are not shown."""
    if view.tab != "time":
        return None
    samples = all_slices(dataset).exclude(list(reference_ids(dataset, view.run)))
    try:
        return drift_over_time(samples, view.run.key, view.by, view.every)
    except (SegadError, ValueError) as error:
        return in_app_words(str(error))


def add(
    panel: types.Object,
    dataset: fo.Dataset,
    view: RunView,
    periods: DriftOverTime | str | None,
    choose: Callable[[foo.ExecutionContext], None],
    show: Callable[[foo.ExecutionContext], None],
) -> None:
    """Add what tells the periods, the plot, and what has changed when.

    Args:
        panel: the panel
        dataset: the dataset
        view: what the page shows
        periods: as of ``periods_of``
        choose: is called when what tells the periods was chosen
        show: sets the grid to the period that was clicked
    """
    by, every = types.DropdownView(), types.DropdownView()
    for name in period_fields(dataset):
        by.add_choice(name, label=name)
    panel.enum("by", by.values(), default=view.by, label="Periods by", view=by, on_change=choose)
    if isinstance(dataset.get_field(view.by), _TIMES):
        for name in EVERY:
            every.add_choice(name, label=name)
        panel.enum("every", every.values(), default=view.every, label="Each", view=every, on_change=choose)
    if not isinstance(periods, DriftOverTime):
        panel.md(str(periods), name="no_periods")
        return
    for i, message in enumerate(periods.messages()):
        panel.view(f"period{i}", types.AlertView(severity="warning", label=message))
    text = _HELP
    if periods.left_out:
        text += f" {pluralize(periods.left_out, 'image has', 'images have')} no value in '{view.by}'."
    panel.md(text, name="periods_help")
    layout = periods.plot().to_plotly_json()["layout"]
    panel.plot("periods", layout=layout, config=PLOT_CONFIG, on_click=show, height="520px")


def data(periods: DriftOverTime) -> list[dict[str, Any]]:
    """Return the traces of the plot."""
    traces: list[dict[str, Any]] = periods.plot().to_plotly_json()["data"]
    return [{name: value for name, value in trace.items() if name != "customdata"} for trace in traces]


def view_at(periods: DriftOverTime, x: object) -> fo.DatasetView | None:
    """Return the images of the period at a place of the plot; None if there is none there."""
    names = [period.name for period in periods.periods if html.escape(period.name) == str(x)]
    return periods.view(names[0]) if names else None
