"""Runs whose normal images show parts in several pictures: found, named or ignored; kept, learnt and carried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

import fiftyone_segad as segad
from parted_dataset import PARTS, PICTURES, make_parts, part_image

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    return make_parts(dataset_of, tmp_path)


def compute(dataset: fo.Dataset, **options: Any) -> segad.Run:
    normals = dataset.match(F("split") == "train")
    return segad.compute_segment_anomalies(
        dataset.match(F("split") == "test"), reference=normals, overwrite=True, **options
    )


def names(groups: list[list[str]]) -> list[list[str]]:
    return sorted(sorted(Path(path).stem for path in group) for group in groups)


EXPECTED = [[f"{part}-{picture}" for picture in range(PICTURES)] for part in range(4)]


@pytest.mark.parametrize("groups", ["auto", "part"])
def test_pictures_of_one_part_are_left_out_together(dataset: fo.Dataset, groups: str) -> None:
    run, alone = compute(dataset, groups=groups), compute(dataset, key="alone", groups=None)
    assert names(run.groups) == EXPECTED and run.parts == PARTS
    assert alone.groups == [] and alone.parts == 0
    scores, scores_alone = (
        {Path(record.id).stem: record.image_score for record in each.store.normals} for each in (run, alone)
    )
    for name, score in scores.items():
        if int(name.split("-")[0]) < 4:
            assert score > 2 * scores_alone[name], "its siblings are as near as itself"
        else:
            assert score == scores_alone[name]
    assert run.false_alarm_share is not None and alone.false_alarm_share is not None
    assert (run.false_alarm_share.parts, run.false_alarm_share.images) == (PARTS, 20)
    assert alone.false_alarm_share.parts == 20
    assert "20 normals in 12 parts" in str(run) and "from 12 normal parts" in str(run)


def test_scores_of_images_to_score_are_the_same(dataset: fo.Dataset) -> None:
    compute(dataset, groups="part")
    compute(dataset, key="alone", groups=None)
    test = dataset.match(F("split") == "test")
    assert test.values("segad_score") == test.values("alone_score")


def test_a_loaded_run_and_another_threshold_know_them(dataset: fo.Dataset) -> None:
    run = compute(dataset, groups="part", threshold="fpr:0.1")
    loaded = segad.load_run(dataset, "segad")
    assert (loaded.groups, loaded.parts, loaded.false_alarm_share) == (run.groups, run.parts, run.false_alarm_share)
    changed = segad.set_threshold(dataset, "segad", "fpr:0.3")
    assert changed.false_alarm_share is not None and run.false_alarm_share is not None
    assert run.false_alarm_share.share < changed.false_alarm_share.share <= 0.3
    assert changed.false_alarm_share.parts == PARTS


@pytest.mark.parametrize(("alarms", "flagged"), [(0, 0), (2, 2), (6, 6), (50, 6)])
def test_a_number_of_alarms(dataset: fo.Dataset, alarms: int, flagged: int) -> None:
    compute(dataset)
    run = segad.set_threshold(dataset, "segad", f"alarms:{alarms}")
    assert run.thresholds.rule == f"alarms:{alarms}"
    assert dataset.count_values("segad_pred.label").get("anomalous", 0) == flagged


def test_a_run_that_learns_keeps_them(dataset: fo.Dataset) -> None:
    compute(dataset, groups="part")
    segad.mark_normal(dataset.match(F("split") == "test").limit(1), "segad")
    learnt = segad.rescore(dataset, "segad").run
    assert names(learnt.groups) == EXPECTED and learnt.parts == PARTS
    scores = {record.id: record.image_score for record in learnt.store.normals}
    again = compute(dataset, groups="part")  # a new run of the key learns the mark, too
    assert {record.id: record.image_score for record in again.store.normals} == scores


def test_a_bank_file_carries_them(dataset: fo.Dataset, dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    run = compute(dataset, groups="part")
    file = segad.save_bank(dataset, "segad", tmp_path / "bank.safetensors")
    other = dataset_of(dataset.match(F("split") == "test").values("filepath"))
    elsewhere = segad.score_new(other, "line2", bank=file)
    assert names(elsewhere.groups) == EXPECTED and elsewhere.parts == PARTS
    assert elsewhere.false_alarm_share == run.false_alarm_share
    assert other.values("line2_pred.p_value") == dataset.match(F("split") == "test").values("segad_pred.p_value")


def test_a_picture_of_a_known_part_is_not_compared_with_it(dataset: fo.Dataset) -> None:
    """Where normal images are scored themselves, their scores are those that thresholds rest on."""
    normals = dataset.match(F("split") == "train")
    run = segad.compute_segment_anomalies(dataset, reference=normals, groups="part", overwrite=True)
    by_path = {record.id: record.image_score for record in run.store.normals}
    for sample in normals:
        assert sample.reload() is None and sample["segad_score"] == by_path[sample.filepath]


@pytest.mark.parametrize(
    ("groups", "message"),
    [("nothing", "neither 'auto' nor a field"), ("split", "the same for all normal images")],
)
def test_error_of_groups(dataset: fo.Dataset, groups: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute(dataset, groups=groups)
    assert segad.list_runs(dataset) == []


def test_error_of_groups_of_another_method(dataset: fo.Dataset) -> None:
    with pytest.raises(ValueError, match="groups='part' is for method='reference'"):
        segad.compute_segment_anomalies(dataset, method="unlabeled", groups="part")


@pytest.mark.parametrize("light", [1.0, 0.6])
def test_drift(dataset: fo.Dataset, dataset_of: Callable[..., fo.Dataset], tmp_path: Path, light: float) -> None:
    run = compute(dataset)
    assert run.drift is not None and not run.drift
    files = []
    for part in range(30, 36):
        files.append(tmp_path / f"{part}.png")
        part_image(part, 0, light).save(files[-1])
    dataset.add_samples([fo.Sample(str(file), split="later") for file in files])
    later = segad.score_new(dataset.match(F("split") == "later"))
    assert later.drift is not None and bool(later.drift) == (light < 1)
    assert segad.load_run(dataset, "segad").drift == later.drift
    assert any("Drift" in warning for warning in later.warnings) == (light < 1)
    if light < 1:
        assert later.drift.brightness == pytest.approx(light, abs=0.1) and "darker" in str(later)


@pytest.mark.parametrize("method", ["unlabeled", "within_image"])
def test_other_methods_know_neither(dataset: fo.Dataset, method: str) -> None:
    run = segad.compute_segment_anomalies(dataset, method=method, segments="grid:3", overwrite=True)
    assert (run.groups, run.parts, run.false_alarm_share, run.drift) == ([], 0, None, None)
