"""One call scores all slices of a grouped dataset, each as a run of its own, and their parts are decided together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from fiftyone_segad.engine import methods
from seen_parts import BAD, CAMERAS, GOOD, NORMALS, grouped_parts

pytestmark = pytest.mark.usefixtures("colour_embedder")

KEYS = [f"segad_{camera}" for camera in CAMERAS]


@pytest.fixture
def grouped(tmp_path: Path) -> Iterator[fo.Dataset]:
    """Twenty normal parts seen by two cameras, and five to judge, of which the last two have a defect in one view."""
    dataset = grouped_parts(tmp_path)
    yield dataset
    dataset.delete()


def compute(dataset: fo.Dataset, key: str = "segad", **options: Any) -> segad.ViewRuns:
    """Score the groups to judge against the others."""
    settings = {"reference": dataset.match_tags("good"), "segments": "tiles:0.4:0.2"}
    views = segad.compute_segment_anomalies(dataset.match_tags("test"), key, **{**settings, **options})
    assert isinstance(views, segad.ViewRuns)
    return views


def all_samples(dataset: fo.Dataset) -> fo.DatasetView:
    return dataset.select_group_slices(CAMERAS)


def test_each_slice_is_scored_as_if_it_were_a_dataset(grouped: fo.Dataset) -> None:
    views = compute(grouped)
    assert list(views.runs) == list(CAMERAS)
    assert (views.scored, views.normals) == (2 * (GOOD + BAD), 2 * NORMALS)
    for camera, key in zip(CAMERAS, KEYS, strict=True):
        of_slice = grouped.select_group_slices(camera)
        alone = segad.compute_segment_anomalies(
            of_slice.match_tags("test"), "alone", reference=of_slice.match_tags("good"), segments="tiles:0.4:0.2"
        )
        assert isinstance(alone, segad.Run)
        assert views.runs[camera].thresholds == alone.thresholds
        assert of_slice.values(f"{key}_score") == of_slice.values("alone_score")
        assert of_slice.values(f"{key}_pred.p_value") == of_slice.values("alone_pred.p_value")
        segad.delete_run(grouped, "alone")
    thresholds = [run.thresholds.image for run in views.runs.values()]
    assert thresholds[0] != thresholds[1]


def test_parts_are_groups(grouped: fo.Dataset) -> None:
    compute(grouped)
    decisions = segad.decide_parts(grouped, "segad", share=0.06)
    bad = grouped.match_tags("test").skip(GOOD)
    assert {(part.part, part.view) for part in decisions.flagged} == set(
        zip(bad.values("group.id"), CAMERAS, strict=True)
    )
    assert len(decisions.parts) == GOOD + BAD
    labels = all_samples(grouped).match_tags("test").values("segad_part.label")
    assert labels.count("anomalous") == 2 * BAD and labels.count("normal") == 2 * GOOD
    assert decisions.record.normals == NORMALS and not decisions.warnings


def test_deleting_the_key_leaves_no_trace(grouped: fo.Dataset) -> None:
    before = (list(grouped.get_field_schema()), grouped.list_runs(), all_samples(grouped).values("tags"))
    views = compute(grouped)
    segad.decide_parts(grouped, "segad")
    folders = [Path(run.folder) for run in views.runs.values()]
    assert all(folder.is_dir() for folder in folders)
    segad.delete_run(grouped, "segad")
    assert (list(grouped.get_field_schema()), grouped.list_runs(), all_samples(grouped).values("tags")) == before
    assert not any(folder.exists() for folder in folders)
    assert grouped.app_config.color_scheme is None and not grouped.app_config.sidebar_groups


def test_deleting_the_run_of_one_slice_leaves_the_others(grouped: fo.Dataset) -> None:
    compute(grouped)
    segad.decide_parts(grouped, "segad")
    segad.delete_run(grouped, KEYS[0])
    assert not grouped.has_sample_field("segad_part") and segad.list_runs(grouped) == KEYS[1:]
    assert len(segad.decide_parts(grouped, "segad").parts) == GOOD + BAD
    segad.delete_run(grouped, KEYS[1])
    assert not grouped.list_runs() and not grouped.has_sample_field("segad_part")


def test_an_interrupted_call_goes_on_with_the_slices_that_are_left(
    grouped: fo.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[str] = []
    score = methods._METHODS["reference"]

    def fail_on_the_right(job: Any) -> None:
        name = Path(job.spec.images[0].path).name.partition("-")[0]
        scored.append(name)
        if name == "right" and len(scored) == 2:
            raise KeyboardInterrupt
        score(job)

    monkeypatch.setitem(methods._METHODS, "reference", fail_on_the_right)
    with pytest.raises(KeyboardInterrupt):
        compute(grouped)
    with pytest.raises(ValueError, match="are not complete"):
        segad.decide_parts(grouped, "segad")
    compute(grouped)
    assert scored == ["left", "right", "right"]
    with pytest.raises(ValueError, match="pass overwrite=True"):
        compute(grouped)
    compute(grouped, overwrite=True)
    assert scored[3:] == ["left", "right"]


def test_a_refused_call_leaves_nothing(grouped: fo.Dataset) -> None:
    with pytest.raises(ValueError, match="is not known; use one of"):
        compute(grouped, method="guess")
    assert not grouped.list_runs()
    with pytest.raises(ValueError, match="reference has no normal images of slice 'right'"):
        compute(grouped, reference=grouped.select_group_slices("left").match_tags("good"))
    with pytest.raises(ValueError, match="reference is not"):
        flat = fo.Dataset()
        flat.add_sample(fo.Sample(filepath="a.png"))
        compute(grouped, reference=flat)
    flat.delete()
    compute(grouped)
    with pytest.raises(ValueError, match="'segad' stands for the runs of all slices"):
        segad.load_run(grouped, "segad")
    with pytest.raises(ValueError, match="stands for the runs of slices"):
        left = grouped.select_group_slices("left")
        segad.compute_segment_anomalies(left, "segad", reference=left.match_tags("good"))


def test_slices_of_other_media_are_left_out_with_a_word(grouped: fo.Dataset, tmp_path: Path) -> None:
    group = grouped.first().group
    grouped.add_sample(fo.Sample(filepath=str(tmp_path / "film.mp4"), group=group.element("film"), tags=["test"]))
    views = compute(grouped)
    assert list(views.runs) == list(CAMERAS)
    assert views.warnings[0].startswith("Slice 'film' is of media type 'video' and was left out")
    assert "Slice 'film'" in str(views)
    films = fo.Dataset()
    films.add_group_field("group", default="film")
    films.add_sample(fo.Sample(filepath=str(tmp_path / "film.mp4"), group=fo.Group().element("film")))
    with pytest.raises(ValueError, match="no slice of images: Slice 'film' is of media type 'video'"):
        segad.compute_segment_anomalies(films, "films", method="unlabeled")
    films.delete()


def test_new_images_and_marks_of_one_slice_reach_the_parts(grouped: fo.Dataset) -> None:
    compute(grouped)
    assert len(segad.decide_parts(grouped, "segad", share=0.06).flagged) == BAD
    left = grouped.select_group_slices("left")
    segad.mark_normal(left.match_tags("test").skip(GOOD).limit(1), KEYS[0])
    segad.rescore(left, KEYS[0])
    assert [part.view for part in segad.list_parts(grouped, "segad").flagged] == ["right"]


def test_normal_parts_of_another_grouped_dataset(grouped: fo.Dataset, tmp_path: Path) -> None:
    other = grouped.match_tags("good").clone()
    compute(grouped.match_tags("test").clone("judged"), reference=other)
    try:
        judged = fo.load_dataset("judged")
        assert len(segad.decide_parts(judged, "segad", share=0.06).flagged) == BAD
        assert segad.list_parts(judged, "segad").record.normals == NORMALS
    finally:
        for dataset in (other, judged):
            dataset.delete()


def test_a_run_over_several_slices_is_decided_by_groups_as_well(grouped: fo.Dataset) -> None:
    samples = all_samples(grouped)
    segad.compute_segment_anomalies(
        samples.match_tags("test"), "pooled", reference=samples.match_tags("good"), segments="tiles:0.4:0.2"
    )
    decisions = segad.decide_parts(grouped, "pooled", share=0.06)
    assert {part.view for part in decisions.flagged} == {"left", "right"}


def test_a_part_that_a_camera_has_missed_is_judged_by_the_others(grouped: fo.Dataset) -> None:
    bad_on_the_left = grouped.match_tags("test").skip(GOOD).first()
    right = grouped.select_group_slices("right").match({"group._id": bad_on_the_left.group._id})
    grouped.delete_samples(right.values("id"))
    compute(grouped)
    decisions = segad.decide_parts(grouped, "segad", share=0.06)
    decision = decisions[bad_on_the_left.group.id]
    assert (decision.anomalous, decision.view, decision.pictures, decision.method) == (True, "left", 1, "conformal")
    assert any("1 part lacks a view that others have" in warning for warning in decisions.warnings)


def test_a_method_without_normal_images_scores_slices_and_decides_no_parts(grouped: fo.Dataset) -> None:
    views = compute(grouped, method="unlabeled", reference=None)
    assert views.scored == 2 * (GOOD + BAD) and views.normals == 0
    with pytest.raises(ValueError, match="Run 'segad_left' knows no scores of normal images"):
        segad.decide_parts(grouped, "segad")
