"""Set and remove the colours of this package's fields in the App; those of other fields stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fiftyone as fo

from ..segments.zones import BORDER, HATCHED
from .keys import ANOMALOUS, NORMAL, ZONES, field_name, list_runs, saved_values
from .retry import retry_on_reconnect

RED, ORANGE, GREEN, TEAL, BLUE, MAGENTA = "#ec0000", "#cc4b00", "#0f8823", "#008664", "#0c72e7", "#ca2bbc"
GREY = "#757575"
"""On these the App's white text (dark theme) and its black text (light theme) have a contrast of 4.5 : 1 or more."""

POOL = (BLUE, ORANGE, TEAL, "#a14bdf", "#9b6d00", MAGENTA, "#628007", "#00809a", "#6d62e9", "#9f684d", GREEN)
"""Such colours for all values that have none of their own, such as scores, to which the App gives no other."""


@retry_on_reconnect
def colour_run(dataset: fo.Dataset, key: str) -> None:
    """Show what a run calls anomalous in red."""
    dataset.mask_targets = {**dataset.mask_targets, field_name(key, "mask"): {255: ANOMALOUS}}
    entries = _label_entries([field_name(key, name) for name in ("pred", "segments", "regions")])
    mask_colours = [{"intTarget": 255, "color": RED}]
    entries.append({"path": field_name(key, "mask"), "fieldColor": RED, "maskTargetsColors": mask_colours})
    set_colours(dataset, entries)
    if dataset.has_sample_field(field_name(key, ZONES, pending=True)):
        _colour_zones(dataset, field_name(key, ZONES))


def _colour_zones(dataset: fo.Dataset, path: str) -> None:
    """Show what is ignored, and the borders of zones, in grey."""
    dataset.mask_targets = {**dataset.mask_targets, path: {HATCHED: "ignored", BORDER: "border of a zone"}}
    colours = [{"intTarget": value, "color": GREY} for value in (HATCHED, BORDER)]
    set_colours(dataset, [{"path": path, "fieldColor": GREY, "maskTargetsColors": colours}])


def set_label_colours(dataset: fo.Dataset, paths: Sequence[str]) -> None:
    """Show what some fields of labels call anomalous in red."""
    set_colours(dataset, _label_entries(paths))


def _label_entries(paths: Sequence[str]) -> list[dict[str, Any]]:
    by_label = [{"value": ANOMALOUS, "color": RED}, {"value": NORMAL, "color": GREY}]
    return [{"path": path, "fieldColor": RED, "colorByAttribute": "label", "valueColors": by_label} for path in paths]


def set_colours(dataset: fo.Dataset, entries: list[dict[str, Any]]) -> None:
    """Set the colours of some fields in the App.

    Args:
        dataset: the dataset
        entries: the fields with their colours, as ``fo.ColorScheme.fields`` has them

    Examples:
        >>> set_colours(dataset, [{"path": "segad_pred", "fieldColor": "#ec0000"}])  # doctest: +SKIP
    """
    scheme = dataset.app_config.color_scheme or fo.ColorScheme(color_by="value", color_pool=list(POOL))
    paths = {entry["path"] for entry in entries}
    scheme.fields = [entry for entry in scheme.fields or [] if entry.get("path") not in paths] + entries
    dataset.app_config.color_scheme = scheme
    dataset.save()


def delete_colours(dataset: fo.Dataset, paths: set[str]) -> None:
    """Remove the colours of some fields from the dataset's colour scheme."""
    scheme = dataset.app_config.color_scheme
    if scheme is not None:
        scheme.fields = [entry for entry in scheme.fields or [] if entry.get("path") not in paths]
        dataset.save()


def owns_color_scheme(dataset: fo.Dataset) -> bool:
    """Return whether the dataset's colour scheme is, or is about to be, this package's alone."""
    if dataset.app_config.color_scheme is None:
        return True
    return any(saved_values(dataset, key).get("owns_color_scheme") for key in list_runs(dataset))
