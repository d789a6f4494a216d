"""What the panel says of a threshold and of a selected sample, and the choices that it highlights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from panel_page import Page
from plugin_calls import plugin_module


@pytest.fixture
def dataset(dataset_with_run: fo.Dataset) -> fo.Dataset:
    return dataset_with_run


def buttons(page: Page, row: str) -> dict[str, Any]:
    return {name: value["view"] for name, value in page.drawn[row]["type"]["properties"].items()}


def test_the_head_says_what_the_threshold_means(dataset: fo.Dataset) -> None:
    segad.set_threshold(dataset, "segad", "fpr:0.3")
    about = str(Page(dataset).drawn["about"])
    assert "set so that about 30 of 100 good images are flagged" in about
    assert "of 100 good images would be flagged (95 % interval" in about


def test_a_threshold_that_misses_defects_is_told_with_better_ones(dataset: fo.Dataset) -> None:
    highest = max(dataset.values("segad_score"))
    assert "advice" not in Page(dataset).drawn, "all is found"
    segad.set_threshold(dataset, "segad", highest + 1)
    page = Page(dataset)
    assert "1 of 1 defective image are missed" in page.drawn["advice"]["view"]["label"]
    best, five = buttons(page, "offers").values()
    assert best["label"].startswith("Best F1: 1.00 at ")
    assert five["params"] == {"rule": "fpr:0.05"}
    page.send("use_threshold", **best["params"])
    (request,) = (params for name, params in page.requests if name == "set_threshold")
    assert request["key"] == "segad"
    segad.set_threshold(dataset, "segad", float(request["threshold"]))
    assert dataset.match({"segad_pred.label": "anomalous"}).values("defect.label") == ["spot"]


def test_the_choice_that_the_grid_shows_is_highlighted(dataset: fo.Dataset) -> None:
    page = Page(dataset)
    page.send("show", choice="flagged")
    assert "show_panel_output" not in page.names(), "the grid does not show it yet"
    stages = page.stages
    page.send("on_change_view", view=stages)
    assert [name for name, view in buttons(page, "counts").items() if view["variant"] == "contained"] == ["flagged"]
    page.send("on_change_view", view=[])
    assert not [name for name, view in buttons(page, "counts").items() if view["variant"] == "contained"]
    page.move(min(dataset.values("segad_score")))
    page.send("move_threshold", view=stages)
    assert not [name for name, view in buttons(page, "counts").items() if view["variant"] == "contained"], (
        "the grid shows what was flagged at another threshold"
    )


def test_a_selected_sample_is_marked_and_can_be_explained(dataset: fo.Dataset) -> None:
    page = Page(dataset)
    assert "why_button" not in page.drawn
    sample = dataset.last()
    page.send("on_change_selected", selected=[sample.id])
    assert page.drawn["why_button"]["view"]["label"] == f"Why is it anomalous? (score {sample.segad_score:.3g})"
    _, selected = page.drawn["histogram"]["view"]["layout"]["shapes"]
    assert selected["x0"] == sample.segad_score
    (words,) = page.drawn["histogram"]["view"]["layout"]["annotations"]
    assert (words["xanchor"], words["yanchor"]) == ("right", "top"), "they stay in the plot, beside the highest score"
    page.state["tab"] = "curves"
    page.send("choose_tab", value="curves", selected=[sample.id])
    assert [trace["name"] for trace in page.data["roc"]] == ["curve", "threshold", "selected"]
    assert (page.data["roc"][2]["x"], page.data["roc"][2]["y"]) == ([0], [1]), "nothing normal scores higher"
    assert page.drawn["roc"]["view"]["layout"]["title"]["text"] == "AUROC 1.000"
    page.send("explain", selected=[sample.id])
    assert list(page.drawn).index("why_title") < list(page.drawn).index("tab"), "at the top"
    assert "distance" in str(page.drawn["why_help"])
    crop = buttons(page, "segment0")["crop0"]
    assert (crop["width"], crop["height"]) == ("200px", "200px")


def test_a_missed_defect_is_explained_and_what_excuses_it_is_left_out(
    dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, normal = dataset.last(), dataset.first()
    page = Page(dataset)
    page.send("explain", selected=[sample.id])
    assert "miss_button" not in page.drawn, "it is flagged"
    segad.set_threshold(dataset, "segad", 1.01 * sample.segad_score)
    page = Page(dataset)
    page.send("explain", selected=[sample.id])
    assert "miss_button" in page.drawn
    near = segad.explain_miss(dataset, "segad", sample.id).excuses[0]
    several = replace(near, neighbour=replace(near.neighbour, filepath=normal.filepath), excused=["a", "b"])
    monkeypatch.setattr(
        plugin_module("plugin.panels.crops"), "explain_miss", lambda *args: segad.Miss(sample.id, 0.0, 1.0, [several])
    )
    page.send("explain_miss", selected=[sample.id])
    assert "probably defective itself" in str(page.drawn["miss0"])
    assert set(buttons(page, "excuse0")) == {"crop0", "crop1"}
    page.send("leave_out", filepath="/elsewhere.png", selected=[sample.id])
    assert not segad.list_marks(dataset, "segad")
    page.send("leave_out", filepath=normal.filepath, selected=[sample.id])
    (mark,) = segad.list_marks(dataset, "segad")
    assert (mark.sample_id, mark.label) == (normal.id, "anomalous")
    assert ("rescore", {"key": "segad"}) in page.requests


def test_beside_an_open_sample_it_is_explained_by_itself(dataset: fo.Dataset) -> None:
    first, last = dataset.skip(1).first().id, dataset.last().id
    in_grid, in_modal = Page(dataset), Page(dataset)
    in_grid.send("on_change_current_sample", current_sample=last, spaces={"children": [{"component_id": "1"}]})
    assert "why_title" not in in_grid.drawn
    for id in (last, first):
        in_modal.send("on_change_current_sample", current_sample=id, spaces={})
        assert in_modal.state["why"]["sample_id"] == id
    assert "why_title" in in_modal.drawn


def test_a_threshold_far_from_all_scores_leaves_the_axis(dataset: fo.Dataset) -> None:
    scores = dataset.values("segad_score")
    scores = [score for score in scores if score is not None]
    segad.set_threshold(dataset, "segad", 1e9)
    page = Page(dataset)
    low, high = page.drawn["histogram"]["view"]["layout"]["xaxis"]["range"]
    assert (low, high) == (min(scores), max(scores))
    slider = page.drawn[page.slider]["type"]
    assert (slider["min"], slider["max"]) == (low, high)


def test_the_plot_of_segments_marks_those_of_the_selected_sample(dataset: fo.Dataset) -> None:
    plugin_module("visualization.segment_plot").visualize_segments(dataset, "segad", method="pca", progress=False)
    page = Page(dataset)
    page.state["tab"] = "segments"
    sample = dataset.last()
    page.send("choose_tab", value="segments", selected=[sample.id])
    (plot,) = page.data["plot"]
    rims = plot["marker"]["line"]["width"]
    marked = {id for id, rim in zip(plot["ids"], rims, strict=True) if rim}
    assert marked == {segment.id for segment in sample.segad_segments.detections}


def test_marks_that_are_not_yet_learnt_are_told(dataset: fo.Dataset) -> None:
    assert "note0" not in Page(dataset).drawn
    segad.mark_normal(dataset.limit(1), "segad")
    page = Page(dataset)
    assert page.drawn["note0"]["view"]["label"].startswith("1 mark is not yet learnt")
    segad.rescore(dataset, "segad")
    page.send("poll")
    assert "note0" not in page.drawn
    segad.undo_review(dataset, "segad")
    page.send("poll")
    assert "forgets them" in page.drawn["note0"]["view"]["label"]
