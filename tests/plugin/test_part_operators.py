"""Parts in the App: all slices scored by one call, the decision on parts, and their figures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from fiftyone.server.filters import GroupElementFilter, SampleFilter
from fiftyone.server.view import get_view

import fiftyone_segad as segad
from fiftyone_segad.plugin.panels import queue_data
from panel_page import Page
from plugin_calls import REFUSED, form, plugin_module, run
from seen_parts import BAD, GOOD, grouped_parts, scored_flat_parts

SETTINGS: dict[str, Any] = {"normals": "tag", "normals_value": "good", "segments": "tiles:0.4:0.2"}


@pytest.fixture(autouse=True)
def plugin_embedder(colour_embedder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embed with the stand-in in the plugin's copy as well."""
    monkeypatch.setitem(plugin_module("embedders.factory").EMBEDDERS, "efficientnet", colour_embedder)


@pytest.fixture
def flat(tmp_path: Path) -> Iterator[fo.Dataset]:
    dataset = scored_flat_parts(tmp_path)
    yield dataset
    dataset.delete()


@pytest.fixture
def grouped(tmp_path: Path) -> Iterator[fo.Dataset]:
    dataset = grouped_parts(tmp_path)
    yield dataset
    dataset.delete()


def test_parts_of_a_field_are_decided(flat: fo.Dataset) -> None:
    fields = form("decide_parts", flat, key="segad")
    assert fields["by"]["default"] == "part_id" and "camera" in fields["views"]["type"]["values"]
    assert "segad_score" not in fields["by"]["type"]["values"]
    assert form("decide_parts", flat, key="segad", share=2)["share"]["invalid"]
    result = run("decide_parts", flat, key="segad", by="part_id", views="camera", share=0.06)
    assert (result["parts"], result["flagged"], result["share"]) == (GOOD + BAD, BAD, "0.06")
    result = run("evaluate_anomalies", flat, key="segad")
    assert (result["part_auroc_text"], result["part_recall_text"]) == ("1.000", "1.000")
    with pytest.raises(REFUSED, match="Invalid enum value"):
        run("decide_parts", flat, key="segad", by="nothing")


def test_all_slices_are_scored_decided_and_deleted(grouped: fo.Dataset) -> None:
    assert "each_slice" in form("compute_segment_anomalies", grouped)
    result = run("compute_segment_anomalies", grouped, key="segad", each_slice=True, **SETTINGS)
    assert result["scored"] == grouped.count("group") * 2 and set(result["threshold"]) == {"left", "right"}
    fields = form("decide_parts", grouped)
    assert fields["key"]["default"] == "segad" and "by" not in fields
    assert run("decide_parts", grouped, share=0.06)["flagged"] == BAD
    assert form("compute_segment_anomalies", grouped, key="segad")["key"]["invalid"]
    assert not form("compute_segment_anomalies", grouped, key="segad", overwrite=True)["key"].get("invalid")
    assert "runs of all slices" in form("delete_run", grouped, key="segad")["warning"]["view"]["label"]
    run("delete_run", grouped, key="segad")
    assert not grouped.list_runs() and not [name for name in grouped.get_field_schema() if "segad" in name]


def test_a_dataset_without_slices_is_not_asked_for_them(flat: fo.Dataset) -> None:
    assert "each_slice" not in form("compute_segment_anomalies", flat)
    segad.delete_run(flat, "segad")
    assert "no_runs" in form("decide_parts", flat)


def test_the_grid_shows_the_flagged_parts(grouped: fo.Dataset) -> None:
    run("compute_segment_anomalies", grouped, key="segad", each_slice=True, **SETTINGS)
    decisions = segad.decide_parts(grouped, "segad", share=0.06)
    view = plugin_module("registry.parts").flagged_parts(grouped, "segad")
    flagged = [part.part for part in decisions.flagged]
    assert view.media_type == "group" and view.values("group.id") == flagged
    for name in ("left", "right"):  # as the App looks at it
        element = SampleFilter(group=GroupElementFilter(slice=name, slices=[name]))
        assert get_view(grouped.name, stages=view._serialize(), sample_filter=element).values("group.id") == flagged


def test_the_panel_counts_parts_and_sets_the_grid_to_them(flat: fo.Dataset) -> None:
    page = Page(flat)
    assert "parts" not in page.drawn["counts"]["type"]["properties"]
    decisions = segad.decide_parts(flat, "segad", views="camera", share=0.06)
    page.send("poll")
    assert page.button("counts", "parts") == f"{BAD} of {GOOD + BAD} parts flagged"
    page.send("show_flagged_parts")
    stages = next(params["view"] for name, params in page.requests if name == "set_view")
    shown = fo.DatasetView._build(flat, stages).values("id")
    assert shown == [id for part in decisions.flagged for id in part.sample_ids]


def test_the_queue_has_alarms_of_a_part_next_to_each_other(flat: fo.Dataset) -> None:
    segad.set_threshold(flat, "segad", 0.0)  # so that every picture raises an alarm
    run_of_key = segad.load_run(flat, "segad")
    before = queue_data.queue(flat, run_of_key, None)
    decisions = segad.decide_parts(flat, "segad", views="camera", share=0.06)
    after = queue_data.queue(flat, run_of_key, None)
    assert {alarm["id"] for alarm in after["alarms"]} == {alarm["id"] for alarm in before["alarms"]}
    parts = {id: part.part for part in decisions.parts for id in part.sample_ids}
    order = list(dict.fromkeys(parts[alarm["sample"]] for alarm in after["alarms"]))
    p_values = {part.part: part.p_value for part in decisions.parts}
    changes = sum(parts[a["sample"]] != parts[b["sample"]] for a, b in pairwise(after["alarms"]))
    assert changes == len(order) - 1 and [p_values[part] for part in order] == sorted(p_values[part] for part in order)
    assert after["alarms"][0]["rarity"].endswith("its part has p = 0.0476 by all of its pictures")
    assert "part has p" not in before["alarms"][0]["rarity"] and after["stamp"] != before["stamp"]


def test_forms_take_the_key_of_all_slices(grouped: fo.Dataset) -> None:
    run("compute_segment_anomalies", grouped, key="segad", each_slice=True, **SETTINGS)
    segad.decide_parts(grouped, "segad")
    fields = form("set_threshold", grouped, key="segad", threshold="fpr:0.2")
    labels = [fields[name]["view"]["label"] for name in ("preview", "preview1")]
    assert [label.partition(":")[0] for label in labels] == ["left", "right"]
    assert form("set_threshold", grouped)["key"]["default"] == "segad_left"
    assert form("set_threshold", grouped, key="segad", threshold="1.5")["threshold"]["invalid"]
    result = run("set_threshold", grouped, key="segad", threshold="fpr:0.2")
    thresholds = {name: segad.load_run(grouped, f"segad_{name}").thresholds for name in ("left", "right")}
    assert result["threshold"] == {name: value.image for name, value in thresholds.items()}
    assert {value.rule for value in thresholds.values()} == {"fpr:0.2"}
    assert (result["scored"], segad.list_parts(grouped, "segad").share) == (2 * grouped.count("group"), 0.2)
    with pytest.raises(REFUSED, match="scales of their own"):
        run("set_threshold", grouped, key="segad", threshold=1.5)


def test_marks_of_all_slices_are_learnt_from_the_form(grouped: fo.Dataset) -> None:
    run("compute_segment_anomalies", grouped, key="segad", each_slice=True, **SETTINGS)
    for key in ("segad_left", "segad_right"):
        of_slice = grouped.select_group_slices(key.removeprefix("segad_")).match_tags("test")
        segad.mark_normal(of_slice.sort_by(f"{key}_score", reverse=True).limit(1), key)
    assert "2 marks" in form("rescore", grouped, key="segad")["marks"]["view"]["label"]
    result = run("rescore", grouped, key="segad")
    assert (result["marked"], result["cleared"], len(result["ids"])) == (2, 2, 2)
    for key in ("segad_left", "segad_right"):
        segad.undo_review(grouped, key)
    assert form("rescore", grouped, key="segad")["marks"]["view"]["label"].startswith("There are no marks: scores")
    labels = {choice["value"]: choice["label"] for choice in form("rescore", grouped)["key"]["view"]["choices"]}
    assert labels == {"segad_left": "segad_left", "segad_right": "segad_right", "segad": "segad: all slices"}


def test_later_images_of_all_slices_are_scored_from_the_form(grouped: fo.Dataset) -> None:
    segad.compute_segment_anomalies(
        grouped.match_tags("test").limit(1), reference=grouped.match_tags("good"), segments="tiles:0.4:0.2"
    )
    images = 2 * grouped.count("group")
    assert f"{images - 2} of {images}" in form("score_new", grouped, key="segad")["count"]["view"]["label"]
    assert run("score_new", grouped, key="segad_left")["new"] == images / 2 - 1
    result = run("score_new", grouped, key="segad")
    assert result["new"] == images / 2 - 1 and set(result["threshold"]) == {"left", "right"}
    assert grouped.select_group_slices("right").exists("segad_right_score").count() == images / 2
    assert run("score_new", grouped, key="segad")["new"] == 0
    notice = form("score_new", grouped, key="segad")["count"]["view"]["label"]
    assert notice == f"All {images} images here have a score in 'segad'; there is nothing new"


def test_all_slices_are_exported_from_the_form(grouped: fo.Dataset, tmp_path: Path) -> None:
    run("compute_segment_anomalies", grouped, key="segad", each_slice=True, **SETTINGS)
    file = tmp_path / "segad.zip"
    fields = form("export_run", grouped, key="segad", path_picked={"absolute_path": str(tmp_path)})
    assert not fields["path"].get("invalid") and {"segad", "segad_left"} <= set(fields["key"]["type"]["values"])
    assert run("export_run", grouped, key="segad", path_picked={"absolute_path": str(tmp_path)})["file"] == str(file)
    scores = grouped.select_group_slices("right").values("segad_right_score")
    run("delete_run", grouped, key="segad")
    assert list(segad.import_run(grouped, file)) == ["left", "right"]
    assert grouped.select_group_slices("right").values("segad_right_score") == scores
