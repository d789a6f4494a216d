"""Runs of the slices of a grouped dataset in the panel: it shows that of the slice which the grid shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from panel_page import Page
from plugin_calls import form, plugin_module
from seen_parts import grouped_parts

LEFT, RIGHT = "segad_left", "segad_right"
FIELDS = [f"{key}_{name}" for key in (LEFT, RIGHT) for name in ("score", "pred", "map")]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, module_colour_embedder: Any) -> Iterator[fo.Dataset]:
    """The run of the slice ``right`` is the newer one; the App shows ``left`` first."""
    dataset = grouped_parts(tmp_path_factory.mktemp("parts"))
    segad.compute_segment_anomalies(
        dataset.match_tags("test"), reference=dataset.match_tags("good"), segments="tiles:0.4:0.2"
    )
    yield dataset
    dataset.delete()


@pytest.fixture
def dataset(scored: fo.Dataset) -> Iterator[fo.Dataset]:
    """The same without a choice of a run, which others may have made."""
    yield scored
    plugin_module("plugin.current_run").panel_store(scored).clear()


def flat_view(dataset: fo.Dataset) -> list[dict[str, Any]]:
    return dataset.select_group_slices(media_type=fo.core.media.IMAGE)._serialize()


def test_the_panel_begins_with_the_run_of_the_slice_that_the_grid_shows(dataset: fo.Dataset) -> None:
    assert Page(dataset).state["run"] == LEFT, "the App names no slice until one is chosen"
    assert Page(dataset, "left").state["run"] == LEFT
    assert Page(dataset, "right").state["run"] == RIGHT


def test_the_panel_follows_the_slice_of_its_own_grid(dataset: fo.Dataset) -> None:
    page, other = Page(dataset, "left"), Page(dataset, "left")
    page.slice = "right"
    page.send("on_change_group_slice")
    assert page.state["run"] == RIGHT and page.drawn["run"]["type"]["values"] == [LEFT, RIGHT]
    for each, key in ((other, LEFT), (page, RIGHT)):
        each.send("poll")
        assert each.state["run"] == key


def test_the_grid_follows_a_run_that_is_chosen(dataset: fo.Dataset) -> None:
    page = Page(dataset, "left")
    page.state["run"] = RIGHT
    page.send("choose_run", value=RIGHT, active_fields=["defect", *FIELDS])
    assert dict(page.requests)["set_active_fields"]["fields"] == ["defect", *FIELDS], "no image has those of both"
    scored = dataset.select_group_slices("right").exists(f"{RIGHT}_score")
    assert page.shown_ids() == scored.sort_by(f"{RIGHT}_score", reverse=True).values("id")
    page.send("poll")  # which was asked before the grid had followed
    assert page.state["run"] == RIGHT
    page.send("on_change_group_slice", view=flat_view(dataset))
    assert page.state["run"] == RIGHT, "a flat view shows no slice"
    page.send("on_change_group_slice")
    assert page.state["run"] == LEFT, "'All' goes back to the slice of the App"


def test_a_run_of_the_slice_that_is_shown_leaves_the_grid(dataset: fo.Dataset) -> None:
    page = Page(dataset, "right")
    page.send("choose_run", value=RIGHT)
    assert page.state["run"] == RIGHT and "set_view" not in page.names()


def test_forms_begin_with_the_run_of_the_slice(dataset: fo.Dataset) -> None:
    for name, key in (("right", RIGHT), ("left", LEFT)):
        dataset.group_slice = name
        assert form("rescore", dataset)["key"]["default"] == key


def test_the_dataset_is_opened_with_the_runs_of_all_slices(dataset: fo.Dataset) -> None:
    dataset.reload()
    assert list(dataset.app_config.active_fields.paths) == FIELDS
