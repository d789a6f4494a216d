"""The tab *Over time* of the triage panel, without a browser."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from panel_page import Page


@pytest.fixture
def dataset(dataset_with_run: Any) -> Any:
    """Its first four pictures are the run's reference; of the two others each is of a shift of its own."""
    dataset_with_run.set_values("shift", ["early"] * 5 + ["late <b>"])
    return dataset_with_run


def open_tab(dataset: fo.Dataset, **state: Any) -> Page:
    page = Page(dataset)
    page.state.update({"tab": "time", **state})
    page.send("choose_tab", value="time")
    return page


def test_by_default_it_follows_the_days(dataset: fo.Dataset) -> None:
    page = open_tab(dataset)
    assert {"by", "every", "periods"} <= page.drawn.keys()
    assert page.drawn["every"]["type"]["values"] == ["hour", "day", "week", "month"]
    days = {value.strftime("%Y-%m-%d") for value in dataset.values("created_at")}
    assert {day for trace in page.data["periods"] for day in trace["x"]} <= days
    assert "contours" not in page.drawn, "what heatmaps mean says nothing of this plot"


def test_the_points_are_those_of_a_field_without_the_reference(dataset: fo.Dataset) -> None:
    page = open_tab(dataset, by="shift")
    assert "every" not in page.drawn
    drift = segad.drift_over_time(dataset.skip(4), "segad", by="shift")
    shares = {trace["name"]: list(trace["y"]) for trace in page.data["periods"] if trace["type"] == "bar"}
    assert [sum(pair) for pair in zip(*shares.values(), strict=True)] == [one.alarm_share for one in drift.periods]
    assert [len(one.ids) for one in drift.periods] == [1, 1]


@pytest.mark.parametrize(("x", "index"), [("early", 4), ("late &lt;b&gt;", 5)])
def test_a_point_sets_the_grid_to_its_period(dataset: fo.Dataset, x: str, index: int) -> None:
    page = open_tab(dataset, by="shift")
    page.send("show_period", x=x)
    assert page.shown_ids() == [dataset.values("id")[index]]


@pytest.mark.parametrize("x", ["another", None, 3.5])
def test_another_place_of_the_plot_does_nothing(dataset: fo.Dataset, x: Any) -> None:
    page = open_tab(dataset, by="shift")
    page.send("show_period", x=x)
    assert "set_view" not in page.names()


def test_fields_of_the_run_and_of_the_app_are_not_offered(dataset: fo.Dataset) -> None:
    dataset.add_sample_field("shot", fo.DateTimeField)
    offered = open_tab(dataset).drawn["by"]["type"]["values"]
    assert set(offered) == {"created_at", "shot", "shift", "defect"}


def test_a_field_that_tells_nothing_says_so(dataset: fo.Dataset) -> None:
    dataset.add_sample_field("shot", fo.DateTimeField)
    page = open_tab(dataset, by="shot")
    assert "No image that run 'segad' scored has a value" in str(page.drawn["no_periods"])
    assert "periods" not in page.drawn
    dataset.set_values("shot", [datetime(2026, 5, 1 + number) for number in range(6)])
    dataset.delete_sample_field("shift")
    assert "periods" in open_tab(dataset, by="shot", every="week").drawn
    assert "periods" in open_tab(dataset, by="shift").drawn, "a field that is gone gives way to the days"


def test_it_is_opened_again_as_it_was(dataset: fo.Dataset) -> None:
    open_tab(dataset, by="shift")
    page = Page(dataset)
    assert (page.state["tab"], page.state["by"]) == ("time", "shift")
    assert "periods" in page.drawn
