"""The triage panel without a browser: what its events draw, also when they overtake each other."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone.brain.internal.core.visualization import PCAVisualization

import fiftyone_segad as segad
from panel_page import Page
from plugin_calls import plugin_module


@pytest.fixture
def dataset(dataset_with_run: fo.Dataset) -> fo.Dataset:
    return dataset_with_run


def test_a_page_opens_on_the_run(dataset: fo.Dataset) -> None:
    page = Page(dataset)
    run = segad.load_run(dataset, "segad")
    assert (page.state["run"], page.state["tab"]) == ("segad", "scores")
    assert page.state[page.slider] == run.thresholds.image
    assert "default" not in {name for name, value in page.drawn[page.slider].items() if value is not None}
    assert page.button("counts", "flagged") == "1 flagged"
    assert "apply_row" not in page.drawn
    assert sum(sum(bars["y"]) for bars in page.data["histogram"]) == 6


def test_a_moved_slider_is_counted_and_kept(dataset: fo.Dataset) -> None:
    page = Page(dataset)
    lowest = min(dataset.values("segad_score"))
    page.move(lowest)
    page.send("move_threshold", value=lowest)
    assert page.button("counts", "flagged") == "5 flagged"
    assert page.button("apply_row", "apply") == f"Apply {lowest:.3g}"
    assert [row["flagged"] for row in page.data["defects"]] == [1]
    again = Page(dataset)  # a reload
    assert again.state[again.slider] == lowest
    assert again.button("counts", "flagged") == "5 flagged"
    page.send("reset_threshold")
    assert "apply_row" not in page.drawn
    assert page.button("counts", "flagged") == "1 flagged"


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("poll", {}),
        ("on_change_view", {}),
        ("choose_tab", {"value": "scores"}),  # the App says it when it draws the tabs
        ("show", {"choice": "highest"}),
        ("show_all", {}),
    ],
)
def test_what_changes_nothing_in_the_panel_draws_nothing(
    dataset: fo.Dataset, method: str, params: dict[str, Any]
) -> None:
    """Its answer could come after that of a later event, and show again what was there before it."""
    page = Page(dataset)
    page.send(method, **params)
    assert "show_panel_output" not in page.names()
    assert not [params for name, params in page.requests if name == "patch_panel_state"]


def test_a_slow_answer_draws_what_the_slider_was_moved_to_meanwhile(
    dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page(dataset)
    lowest = min(dataset.values("segad_score"))
    sample = dataset.first()

    def explained(*args: Any) -> tuple[dict[str, Any], dict[str, str]]:
        page.move(lowest)
        page.send("move_threshold", value=lowest)
        return {"sample_id": sample.id, "name": "0.png", "segments": []}, {}

    monkeypatch.setattr(plugin_module("plugin.panels.crops"), "explained", explained)
    page.send("explain", selected=[sample.id])
    assert page.button("counts", "flagged") == "5 flagged"
    assert "apply_row" in page.drawn
    assert page.state[page.slider] == lowest
    assert "why_title" in page.drawn


def test_curves_have_the_overlap_of_the_latest_evaluation(dataset: fo.Dataset) -> None:
    mask = np.zeros((80, 96), np.uint8)
    mask[30:46, 40:56] = 255
    dataset.add_sample_field("defect_mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    dataset.set_values("defect_mask", [None] * 5 + [fo.Segmentation(mask=mask)])
    page = Page(dataset)
    page.state["tab"] = "curves"
    page.send("choose_tab", value="curves")
    assert "overlap" not in page.drawn
    assert "evaluation key" in str(page.drawn["no_overlap"])
    segad.evaluate_anomalies(dataset.skip(4), eval_key="part")
    results = segad.evaluate_anomalies(dataset, eval_key="whole")
    page.send("on_change_view")
    (curve,) = page.data["overlap"]
    assert (curve["x"][0], curve["x"][-1]) == (0, 0.3)
    assert len(curve["x"]) <= 200
    figures = results.metrics()
    assert np.trapezoid(curve["y"], curve["x"]) / 0.3 == pytest.approx(figures["aupro_30"], abs=0.005)
    assert "**whole**" in str(page.drawn["overlap_help"])
    title = page.drawn["overlap"]["view"]["layout"]["title"]["text"]
    assert title == f"AUPRO {figures['aupro_30']:.3f} up to 0.3, {figures['aupro_05']:.3f} up to 0.05"
    page.send("show_outcomes", active_fields=["segad_score"])
    assert dict(page.requests)["set_active_fields"]["fields"] == ["segad_score", "whole_regions"]
    grouped = fo.DatasetView._build(dataset, page.stages)
    (hit,) = dataset.last().whole_regions.detections
    assert [(patch.whole_regions.label, patch.whole_regions.iou) for patch in grouped] == [("hit", hit.iou)]
    assert 0 < hit.iou < 1


def test_a_bar_shows_the_images_of_a_kind_of_defect(dataset: fo.Dataset) -> None:
    long = "scratch_" * 20
    dataset.set_values("defect.label", ["good"] * 3 + [long + "a", long + "b", "<spot>"])
    page = Page(dataset)
    page.state["tab"] = "curves"
    page.send("choose_tab", value="curves")
    (bars,) = page.data["bars"]
    assert bars["ids"] == ["<spot>", long + "a", long + "b"]
    threshold = segad.load_run(dataset, "segad").thresholds.image
    scores = dict(zip(*dataset.values(["defect.label", "segad_score"]), strict=True))
    assert bars["x"] == [float(scores[name] > threshold) for name in bars["ids"]]
    assert len(set(bars["y"])) == 3, "names that are cut alike do not share a bar"
    page.send("show_kind", id="<spot>")
    assert page.shown_ids() == [dataset.last().id]


def test_pages_do_not_move_each_other(dataset: fo.Dataset) -> None:
    one, two = Page(dataset), Page(dataset)
    lowest = min(dataset.values("segad_score"))
    one.move(lowest)
    one.send("move_threshold", value=lowest)
    two.send("explain", selected=[dataset.first().id])
    assert one.button("counts", "flagged") == "5 flagged"
    assert two.button("counts", "flagged") == "1 flagged"


def test_a_threshold_that_another_page_applies_is_shown(dataset: fo.Dataset) -> None:
    page = Page(dataset)
    page.move(0.0)
    page.send("move_threshold", value=0.0)
    middle = float(np.median(dataset.values("segad_score")))
    segad.set_threshold(dataset, "segad", middle)
    page.send("poll")
    assert page.state[page.slider] == middle
    assert page.button("counts", "flagged") == "3 flagged"
    assert "apply_row" not in page.drawn, "what was chosen beside the threshold before counts no more"


def test_pictures_are_not_part_of_the_state(dataset: fo.Dataset) -> None:
    """The App sends the state along with each event, with every move of the slider."""
    page = Page(dataset)
    page.send("explain", selected=[dataset.last().id])
    pictures = [value for value in page.data.values() if isinstance(value, str)]
    assert pictures
    assert all(value.startswith("data:image/jpeg;base64,") for value in pictures)
    assert "base64" not in json.dumps(page.state)
    assert page.drawn["segment0"]["type"]["properties"]["crop0"]["view"]["label"].startswith("score")


def test_nothing_chosen_to_explain_is_told(dataset: fo.Dataset) -> None:
    page = Page(dataset)
    page.send("explain")
    (message,) = (params["message"] for name, params in page.requests if name == "notify")
    assert "select one" in message


def test_a_run_without_its_folder_is_told(dataset: fo.Dataset) -> None:
    import shutil

    shutil.rmtree(segad.load_run(dataset, "segad").folder)
    page = Page(dataset)
    label = page.drawn["note0"]["view"]["label"]
    assert "is gone" in label and "import_run" not in label
    assert page.button("counts", "flagged") == "1 flagged", "which fields tell"


def test_without_a_run_the_next_step_is_offered(dataset_of: Any, pictures: list[Path]) -> None:
    page = Page(dataset_of(pictures))
    assert page.button("next", "compute") == "Compute anomalies"
    assert page.drawn["next"]["type"]["properties"]["compute"]["view"]["prompt"]


def test_what_failed_is_shown_until_dismissed(dataset: fo.Dataset) -> None:
    page = Page(dataset)
    execution = plugin_module("plugin.execution")
    with pytest.raises(ValueError, match="out of paper"), execution._RunMonitor(str(dataset._doc.id), "other"):
        page.send("poll")
        assert "Running 'other'" in page.drawn["progress0"]["view"]["label"]
        raise ValueError("out of paper")
    page.send("poll")
    assert "progress0" not in page.drawn
    assert "out of paper" in page.drawn["failed0"]["view"]["label"]
    page.send("dismiss", name="other")
    assert "failed0" not in page.drawn


def test_a_plot_of_segments_appears_once_it_is_computed(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at it while it is registered, but not yet computed, must not be the last one."""
    page = Page(dataset)
    page.state["tab"] = "segments"
    page.send("choose_tab", value="segments")
    fit = PCAVisualization.fit_reducer

    def looked_at(self: Any, *args: Any, **options: Any) -> Any:
        assert dataset.has_brain_run("segad_plot")
        page.send("poll")
        assert "plot_segments" in page.drawn
        return fit(self, *args, **options)

    monkeypatch.setattr(PCAVisualization, "fit_reducer", looked_at)
    plugin_module("visualization.segment_plot").visualize_segments(dataset, "segad", method="pca", progress=False)
    page.send("poll")
    assert len(page.data["plot"][0]["ids"]) == dataset.count("segad_segments.detections")


def test_what_reports_nothing_for_long_still_runs(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    execution = plugin_module("plugin.execution")
    monkeypatch.setattr(execution, "_TTL", 1)
    name = str(dataset._doc.id)
    with execution._RunMonitor(name, "slow"):
        time.sleep(3)
        assert execution.running(name) == ["slow"]
    time.sleep(1)
    assert execution.running(name) == []
