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
    answer = dict(page.requests)
    assert answer["set_group_slice"] == {"slice": "right"} and "set_view" not in answer
    assert answer["set_active_fields"]["fields"] == ["defect", *FIELDS], "each image has the fields of its own slice"
    page.send("on_change_group_slice")
    page.send("poll")
    assert page.state["run"] == RIGHT


def test_a_choice_of_images_stays_with_its_run(dataset: fo.Dataset) -> None:
    """A flat view names no slice, though the App may still do."""
    page = Page(dataset, "left")
    page.slice = "right"
    page.send("on_change_group_slice")
    page.slice = "left"
    page.send("poll", view=flat_view(dataset))
    assert page.state["run"] == RIGHT
    page.send("show_all", view=flat_view(dataset))
    assert page.names().index("set_group_slice") > page.names().index("set_view") and page.slice == "right"


def test_forms_begin_with_the_run_of_the_slice(dataset: fo.Dataset) -> None:
    assert form("rescore", dataset)["key"]["default"] == LEFT


def test_the_dataset_is_opened_with_the_runs_of_all_slices(dataset: fo.Dataset) -> None:
    dataset.reload()
    assert list(dataset.app_config.active_fields.paths) == FIELDS
