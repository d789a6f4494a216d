"""The key that stands for the runs of all slices: thresholds, marks and later images of each by one call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from fiftyone_segad.runs import parts
from seen_parts import BAD, CAMERAS, GOOD, grouped_parts

pytestmark = pytest.mark.usefixtures("colour_embedder")

KEYS = [f"segad_{camera}" for camera in CAMERAS]


@pytest.fixture
def grouped(tmp_path: Path) -> Iterator[fo.Dataset]:
    """A grouped dataset whose parts to judge are scored, by two runs of slices."""
    dataset = grouped_parts(tmp_path)
    compute(dataset, dataset.match_tags("test"))
    yield dataset
    dataset.delete()


def compute(dataset: fo.Dataset, samples: Any, **options: Any) -> segad.ViewRuns:
    views = segad.compute_segment_anomalies(
        samples, "segad", reference=dataset.match_tags("good"), segments="tiles:0.4:0.2", **options
    )
    assert isinstance(views, segad.ViewRuns)
    return views


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of which parts are decided on from now on."""
    keys: list[str] = []
    decide = parts._decide_parts

    def note(dataset: fo.Dataset, key: str, *rest: Any) -> Any:
        keys.append(key)
        return decide(dataset, key, *rest)

    monkeypatch.setattr(parts, "_decide_parts", note)
    return keys


def predictions(dataset: fo.Dataset, camera: str) -> list[Any]:
    of_slice = dataset.select_group_slices(camera).match_tags("test")
    path = f"segad_{camera}"
    columns = of_slice.values([f"{path}_score", f"{path}_pred.label", f"{path}_pred.p_value"])
    return [list(column) for column in columns]


def stop_on_the_right(bar: Any) -> None:
    if bar.stage.startswith("slice 'right'"):
        raise KeyboardInterrupt


# Thresholds


def test_each_slice_gets_the_threshold_that_it_would_get_alone(grouped: fo.Dataset) -> None:
    alone = [segad.set_threshold(grouped, key, "fpr:0.2").thresholds for key in KEYS]
    segad.set_threshold(grouped, KEYS[0], 1.0)
    views = segad.set_threshold(grouped, "segad", "fpr:0.2")
    assert isinstance(views, segad.ViewRuns)
    assert [views[camera].thresholds for camera in CAMERAS] == alone
    assert [segad.load_run(grouped, key).thresholds for key in KEYS] == alone
    assert alone[0].image != alone[1].image


def test_a_number_is_refused_for_several_slices_before_anything_changes(grouped: fo.Dataset) -> None:
    before = [segad.load_run(grouped, key) for key in KEYS]
    for number in (1.5, "1.5"):
        with pytest.raises(ValueError, match=r"scales of their own.*'segad_left'"):
            segad.set_threshold(grouped, "segad", number)
    with pytest.raises(ValueError, match=r"Slice 'left': min_area names the zone 'rim'"):
        segad.set_threshold(grouped, "segad", "fpr:0.1", min_area={"rim": 3})
    right = grouped.select_group_slices("right")
    right.set_values("defect_mask", [None] * len(right))
    with pytest.raises(ValueError, match="Slice 'right': threshold='f1' needs defective images"):
        segad.set_threshold(grouped, "segad", "f1")
    assert [segad.load_run(grouped, key) for key in KEYS] == before


def test_a_number_is_taken_where_there_is_one_slice(grouped: fo.Dataset) -> None:
    segad.delete_run(grouped, KEYS[1])
    views = segad.set_threshold(grouped, "segad", 1.5)
    assert isinstance(views, segad.ViewRuns) and views["left"].thresholds.image == 1.5


def test_parts_follow_once_and_their_share_is_that_of_the_threshold(grouped: fo.Dataset, decided: list[str]) -> None:
    segad.set_threshold(grouped, "segad", "fpr:0.1")
    assert not decided
    assert segad.decide_parts(grouped, "segad").share == 0.1
    segad.set_threshold(grouped, "segad", "fpr:0.2")
    assert decided == ["segad"] * 2
    assert segad.list_parts(grouped, "segad").share == 0.2
    segad.set_threshold(grouped, KEYS[0], "fpr:0.1")  # of one slice: they have none in common
    assert segad.list_parts(grouped, "segad").share == 0.2
    segad.decide_parts(grouped, "segad", share=0.06)
    segad.set_threshold(grouped, "segad", "fpr:0.3")
    assert segad.list_parts(grouped, "segad").share == 0.06


def test_an_interrupted_call_is_completed_by_the_same_call(grouped: fo.Dataset) -> None:
    segad.decide_parts(grouped, "segad")

    with pytest.raises(KeyboardInterrupt):
        segad.set_threshold(grouped, "segad", "fpr:0.2", progress=stop_on_the_right)
    assert [segad.load_run(grouped, key).thresholds.rule for key in KEYS] == ["fpr:0.2", "fpr:0.05"]
    assert segad.list_parts(grouped, "segad").share == 0.05
    views = segad.set_threshold(grouped, "segad", "fpr:0.2")
    assert [run.thresholds.rule for run in views.runs.values()] == ["fpr:0.2"] * 2
    assert segad.list_parts(grouped, "segad").share == 0.2


def test_progress_is_that_of_all_slices(grouped: fo.Dataset) -> None:
    shares: list[float] = []
    segad.set_threshold(grouped, "segad", "fpr:0.2", progress=lambda bar: shares.append(bar.progress))
    assert shares == sorted(shares) and shares[-1] == 1 and 0.5 in shares


# Marks


def test_marks_of_each_slice_are_learnt(grouped: fo.Dataset, decided: list[str]) -> None:
    assert len(segad.decide_parts(grouped, "segad", share=0.06).flagged) == BAD
    for camera, key in zip(CAMERAS, KEYS, strict=True):
        of_slice = grouped.select_group_slices(camera)
        segad.mark_normal(of_slice.match_tags("test").sort_by(f"{key}_score", reverse=True).limit(1), key)
    reports = segad.rescore(grouped, "segad")
    assert isinstance(reports, segad.ViewReports)
    assert decided == ["segad"] * 2
    assert (reports.marked, len(reports.cleared)) == (2, 2)
    assert len(reports.lost_ids) == BAD and "Run 'segad_right' knows 1 mark" in str(reports)
    assert not segad.list_parts(grouped, "segad").flagged
    again = segad.rescore(grouped, "segad")
    assert (again.marked, again.cleared) == (2, [])


def test_runs_of_which_one_cannot_learn_stay_as_they_are(grouped: fo.Dataset) -> None:
    with pytest.raises(ValueError, match="Slice 'left'"):
        segad.rescore(grouped, "segad", zones="nowhere")
    with pytest.raises(ValueError, match="Slice 'left': zones_from="):
        segad.rescore(grouped, "segad", zones_from="nobody")


# Later images


def test_later_images_are_scored_against_their_own_slice(grouped: fo.Dataset, decided: list[str]) -> None:
    test = grouped.match_tags("test")
    groups = test.values("group.id")
    early, late = grouped.select_groups(groups[:2]), grouped.select_groups(groups[2:])
    expected = {camera: predictions(grouped, camera) for camera in CAMERAS}
    segad.delete_run(grouped, "segad")
    compute(grouped, early)
    segad.decide_parts(grouped, "segad", share=0.06)
    views = segad.score_new(late, "segad")
    assert isinstance(views, segad.ViewRuns) and views.scored == 2 * (GOOD + BAD)
    assert {camera: predictions(grouped, camera) for camera in CAMERAS} == expected
    assert decided == ["segad"] * 2
    assert len(segad.list_parts(grouped, "segad").parts) == GOOD + BAD
    assert segad.score_new(late, "segad").scored == views.scored


def test_interrupted_later_images_are_completed_by_the_same_call(grouped: fo.Dataset) -> None:
    segad.decide_parts(grouped, "segad", share=0.06)
    images = grouped.count("group")
    with pytest.raises(KeyboardInterrupt):
        segad.score_new(grouped, "segad", progress=stop_on_the_right)
    assert [segad.load_run(grouped, key).scored for key in KEYS] == [images, GOOD + BAD]
    assert len(segad.list_parts(grouped, "segad").parts) == GOOD + BAD
    assert segad.score_new(grouped, "segad").scored == 2 * images
    assert len(segad.list_parts(grouped, "segad").parts) == images


def test_an_interrupted_review_is_completed_by_the_same_call(grouped: fo.Dataset) -> None:
    segad.decide_parts(grouped, "segad", share=0.06)
    for camera, key in zip(CAMERAS, KEYS, strict=True):
        of_slice = grouped.select_group_slices(camera).match_tags("test")
        segad.mark_normal(of_slice.sort_by(f"{key}_score", reverse=True).limit(1), key)
    with pytest.raises(KeyboardInterrupt):
        segad.rescore(grouped, "segad", progress=stop_on_the_right)
    assert len(segad.list_parts(grouped, "segad").flagged) == BAD
    reports = segad.rescore(grouped, "segad")
    assert isinstance(reports, segad.ViewReports)
    assert {name: len(report.cleared) for name, report in reports.reports.items()} == {"left": 0, "right": 1}
    assert not segad.list_parts(grouped, "segad").flagged


def test_slices_without_later_images_are_named(grouped: fo.Dataset) -> None:
    views = segad.score_new(grouped.select_group_slices("left").match_tags("test"), "segad")
    assert isinstance(views, segad.ViewRuns)
    assert views.notes == ["Slice 'right' has no samples here and was left out"]
    both = grouped.select_group_slices(CAMERAS).match_tags("test")
    assert not segad.score_new(both, "segad").notes


def test_what_cannot_be_scored_by_slices_is_refused(grouped: fo.Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a bank is of one slice"):
        segad.score_new(grouped, "segad", bank=tmp_path / "bank.safetensors")
    with pytest.raises(ValueError, match="no images of the slices"):
        segad.score_new(grouped.match_tags("nobody"), "segad")
    with pytest.raises(ValueError, match="view of patches"):
        segad.score_new(grouped.select_group_slices("left").to_patches("segad_left_regions"), "segad")


# The result


def test_runs_of_slices_are_a_mapping(grouped: fo.Dataset) -> None:
    views = segad.set_threshold(grouped, "segad", "fpr:0.2")
    assert isinstance(views, segad.ViewRuns)
    assert list(views) == list(CAMERAS) and len(views) == 2 and "left" in views
    assert dict(views) == views.runs and views["left"].key == KEYS[0]
    with pytest.raises(KeyError, match="no run of slice 'top'"):
        views["top"]


@pytest.mark.parametrize("name", ["thresholds", "false_alarm_share", "store", "field"])
def test_what_only_a_run_has_says_where_it_is(grouped: fo.Dataset, name: str) -> None:
    views = compute(grouped, grouped.match_tags("test"), overwrite=True)
    with pytest.raises(AttributeError, match=rf"use views\['left'\]\.{name}"):
        getattr(views, name)
    assert not hasattr(views, "nothing_of_the_kind")
