"""What the panel shows of several runs, of what is running, and of a dataset that changes under it."""

from __future__ import annotations

import time
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from panel_page import URI, Page
from plugin_calls import plugin_module


@pytest.fixture
def dataset(dataset_with_run: fo.Dataset) -> fo.Dataset:
    return dataset_with_run


@pytest.fixture
def two_runs(dataset: fo.Dataset) -> fo.Dataset:
    """A second run that comes first in the alphabet."""
    options: dict[str, Any] = {"reference": dataset.limit(4), "threshold": "quantile:0.5"}
    segad.compute_segment_anomalies(dataset, key="again", **options)
    return dataset


def prompted(page: Page, row: str, name: str) -> Any:
    """What the form of a button begins with."""
    return page.drawn[row]["type"]["properties"][name]["view"]["params"]


def test_the_newest_run_is_shown_whatever_its_name(two_runs: fo.Dataset) -> None:
    page = Page(two_runs)
    assert page.state["run"] == "again"
    assert page.button("counts", "flagged") == "3 flagged"


def test_a_chosen_run_is_that_of_the_grid_the_forms_and_other_pages(two_runs: fo.Dataset) -> None:
    page, other = Page(two_runs), Page(two_runs)
    page.state["run"] = "segad"
    view = two_runs.sort_by("again_score")._serialize()
    active = ["defect", "again_score", "again_pred", "again_map"]
    page.send("choose_run", value="segad", view=view, active_fields=active)
    answer = dict(page.requests)
    assert answer["set_active_fields"]["fields"] == ["defect", "segad_score", "segad_pred", "segad_map"]
    assert "again_score" not in str(answer["set_view"]) and "segad_score" in str(answer["set_view"])
    assert page.button("counts", "flagged") == "1 flagged"
    for name in ("mark_normal", "mark_anomalous", "undo_review", "rescore"):
        assert prompted(page, "review", name) == {"key": "segad"}
    assert prompted(page, "views", "second") == {"key": "segad"}
    other.send("poll")
    assert (other.state["run"], other.button("counts", "flagged")) == ("segad", "1 flagged")
    assert Page(two_runs).state["run"] == "segad", "a reload keeps it"


def test_a_poll_does_not_take_back_a_choice_whose_event_is_on_its_way(two_runs: fo.Dataset) -> None:
    page = Page(two_runs)
    page.state["run"] = "segad"
    page.send("poll")
    assert (page.state["run"], page.button("counts", "flagged")) == ("segad", "1 flagged")
    page.send("choose_run", value="segad")
    page.send("poll")
    assert (page.state["run"], page.button("counts", "flagged")) == ("segad", "1 flagged")


def test_a_view_that_is_of_no_run_stays(two_runs: fo.Dataset) -> None:
    page = Page(two_runs)
    page.state["run"] = "segad"
    page.send("choose_run", value="segad", view=two_runs.match_tags("good")._serialize())
    assert "set_view" not in page.names()


def test_a_run_that_comes_later_is_shown_though_another_was_chosen(two_runs: fo.Dataset) -> None:
    page = Page(two_runs)
    page.state["run"] = "segad"
    page.send("choose_run", value="segad")
    segad.compute_segment_anomalies(two_runs, key="a_third", reference=two_runs.limit(4), threshold="quantile:0.5")
    page.send("poll")
    assert page.state["run"] == "a_third"


def test_what_ends_without_a_new_run_leaves_the_one_that_is_shown(two_runs: fo.Dataset) -> None:
    page = Page(two_runs)
    page.state["run"] = "segad"
    page.send("choose_run", value="segad")
    with plugin_module("plugin.execution")._RunMonitor(str(two_runs._doc.id), "image_quality"):
        page.send("poll")
    page.send("poll")
    assert page.state["run"] == "segad"


def test_an_error_between_two_polls_leaves_what_is_drawn(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a run puts its fields in place while the panel reads them."""
    page = Page(dataset)
    drawn = page.drawn

    def fails(*args: Any) -> None:
        raise KeyError("segad_score")

    segad.set_threshold(dataset, "segad", min(dataset.values("segad_score")))
    with monkeypatch.context() as patch:
        patch.setattr(plugin_module("plugin.panels.anomaly_triage"), "run_view_of", fails)
        page.send("poll")
        assert "show_panel_output" not in page.names()
        assert page.drawn is drawn
    page.send("poll")
    assert page.button("counts", "flagged") == "5 flagged", "the next look finds what has changed"


def test_an_error_at_the_first_look_is_tried_again(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any) -> None:
        raise ValueError("the fields are being renamed")

    with monkeypatch.context() as patch:
        patch.setattr(plugin_module("plugin.panels.anomaly_triage"), "run_view_of", fails)
        page = Page(dataset)
        assert "poll" in page.drawn and "waiting" in page.drawn
        for _ in range(3):
            page.send("poll")
        assert "the fields are being renamed" in page.drawn["error"]["view"]["label"], "one that lasts is told"
        assert "poll" in page.drawn
    page.send("poll")
    assert page.button("counts", "flagged") == "1 flagged"


def test_a_cancel_lasts_until_the_run_has_ended(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two steps of a run minutes may pass."""
    execution = plugin_module("plugin.execution")
    monkeypatch.setattr(execution, "_TTL", 1)
    page = Page(dataset)
    bar = fo.ProgressBar(total=3, start_msg="", quiet=True)
    with pytest.raises(Exception, match="Cancelled"), execution._RunMonitor(str(dataset._doc.id), "slow") as monitor:
        page.send("poll")
        assert page.drawn["progress0"]["view"]["label"] == "Running 'slow': starting"
        page.send("cancel", name="slow")
        assert page.drawn["progress0"]["view"]["label"] == "Cancelling 'slow': starting"
        assert "Cancelling..." in str(page.drawn["cancelling0"]) and "cancel0" not in page.drawn
        time.sleep(3)
        for _ in range(2):
            monitor._reported = 0
            monitor.report(bar, lambda share, label: None)
    page.send("poll")
    assert "progress0" not in page.drawn
    with execution._RunMonitor(str(dataset._doc.id), "slow"):
        page.send("poll")
        assert page.drawn["progress0"]["view"]["label"].startswith("Running"), "the next one was not cancelled"


def test_reference_images_do_not_count(dataset: fo.Dataset) -> None:
    page = Page(dataset)
    assert page.button("counts", "TP") == "1 hit"
    assert page.button("counts", "TN") == "1 good passed", "four of the five good ones are the reference"
    assert "4 reference images do not count" in str(page.drawn["rates"])
    bars = {trace["name"]: sum(trace["y"]) for trace in page.data["histogram"]}
    assert bars == {"normal": 1, "anomalous": 1, "reference": 4}


def test_a_stale_evaluation_says_so_until_it_is_made_anew(dataset: fo.Dataset) -> None:
    dataset.set_values("dents", [fo.Detections()] * 5 + [fo.Detections(detections=[fo.Detection(label="dent")])])
    dataset.set_values("dents.detections.bounding_box", [[]] * 5 + [[[0.4, 0.4, 0.2, 0.2]]])
    segad.evaluate_anomalies(dataset, "segad", "dents", eval_key="judged")
    page = Page(dataset)
    assert "note0" not in page.drawn
    run = segad.set_threshold(dataset, "segad", "quantile:0.5")
    page.send("poll")
    label = page.drawn["note0"]["view"]["label"]
    assert f"now {run.thresholds.image:.4g}" in label and label.endswith("Bring it up to date with 'Evaluate a run'")
    segad.evaluate_anomalies(dataset, "segad", "dents", eval_key="judged", overwrite=True)
    page.send("poll")
    assert "note0" not in page.drawn


def test_the_wheel_scrolls_the_panel_over_its_plots(dataset: fo.Dataset) -> None:
    page = Page(dataset)
    assert page.drawn["histogram"]["view"]["config"]["scrollZoom"] is False
    page.state["tab"] = "curves"
    page.send("choose_tab", value="curves")
    for name in ("roc", "precision_recall", "bars"):
        assert page.drawn[name]["view"]["config"]["scrollZoom"] is False


def test_buttons_call_the_panel_by_its_address(dataset: fo.Dataset) -> None:
    page = Page(dataset)
    assert page.drawn["counts"]["type"]["properties"]["flagged"]["view"]["operator"] == f"{URI}#show"
