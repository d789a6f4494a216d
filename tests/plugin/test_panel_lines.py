"""Maps as lines in place of heatmaps: the button of the triage panel, its legend, and the operator behind it."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from fiftyone_segad.runs.contours import contour_levels
from panel_page import Page
from plugin_calls import run

SHOWN = ["segad_score", "segad_map"]
LINES = ["segad_score", "segad_contours"]


@pytest.fixture
def dataset(dataset_with_run: Any) -> Any:
    return dataset_with_run


def test_the_button_draws_lines_where_there_are_none(dataset: fo.Dataset) -> None:
    page = Page(dataset)
    assert page.drawn["contours"]["view"]["label"] == "Lines instead of heatmaps"
    page.send("show_lines", active_fields=SHOWN)
    assert ("show_contours", {"key": "segad"}) in page.requests


def test_the_operator_draws_them(dataset: fo.Dataset) -> None:
    result = run("show_contours", dataset, key="segad")
    assert result["drawn"] == sum(bool(lines.polylines) for lines in dataset.values("segad_contours")) > 0


def test_lines_and_heatmaps_take_turns(dataset: fo.Dataset) -> None:
    run("show_contours", dataset)
    page = Page(dataset)
    page.send("show_lines", active_fields=SHOWN)
    assert dict(page.requests)["set_active_fields"]["fields"] == LINES
    page.send("poll", active_fields=LINES)
    legend = str(page.drawn["lines"])
    assert all(f"**{level:.3g}**" in legend for level in contour_levels(segad.load_run(dataset, "segad")))
    assert "map_colours" not in page.drawn
    page.send("show_heatmaps", active_fields=LINES)
    assert dict(page.requests)["set_active_fields"]["fields"] == SHOWN
    page.send("poll", active_fields=SHOWN)
    assert "map_colours" in page.drawn and "lines" not in page.drawn
