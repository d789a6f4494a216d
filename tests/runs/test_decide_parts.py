"""Decisions on parts of a dataset that is not grouped: a field tells them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from seen_parts import BAD, GOOD, NORMALS, flat_parts
from small_runs import snapshot

pytestmark = pytest.mark.usefixtures("colour_embedder")

FIRST_BAD = NORMALS + GOOD


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[fo.Dataset]:
    """Twenty normal parts seen by two cameras, and five to judge, of which the last two have a defect in one view."""
    dataset = flat_parts(tmp_path)
    yield dataset
    dataset.delete()


def compute(dataset: fo.Dataset, **options: object) -> segad.Run:
    settings = {"reference": dataset.match_tags("good"), "segments": "tiles:0.4:0.2", "groups": "part_id"}
    return segad.compute_segment_anomalies(dataset.match_tags("test"), **{**settings, **options})  # type: ignore


def test_a_part_is_flagged_by_its_defective_view(parts: fo.Dataset) -> None:
    compute(parts)
    decisions = segad.decide_parts(parts, "segad", views="camera", share=0.06)
    assert {part.part: part.view for part in decisions.flagged} == {
        f"part {FIRST_BAD}": "left",
        f"part {FIRST_BAD + 1}": "right",
    }
    assert len(decisions.parts) == GOOD + BAD
    assert decisions.flagged[0].p_value == pytest.approx(1 / (NORMALS + 1))
    both = parts.match(fo.ViewField("part_id") == f"part {FIRST_BAD}")
    assert both.values("segad_part.label") == ["anomalous"] * 2  # the good view of the part as well
    assert both.values("segad_part.decided_by") == [both.first().id] * 2
    assert parts.match_tags("good").count("segad_part") == 0
    assert segad.list_parts(parts, "segad") == decisions


def test_views_without_names(parts: fo.Dataset) -> None:
    compute(parts)
    decisions = segad.decide_parts(parts, "segad", share=0.06)  # by the field that the run was told as groups
    assert {part.part for part in decisions.flagged} == {f"part {FIRST_BAD}", f"part {FIRST_BAD + 1}"}
    assert decisions.record.by == "part_id" and decisions.flagged[0].view is None


def test_the_share_is_that_of_the_threshold_by_default(parts: fo.Dataset) -> None:
    compute(parts, threshold="fpr:0.2")
    assert segad.decide_parts(parts, "segad", "part_id").share == 0.2
    segad.set_threshold(parts, "segad", 3.0)
    assert segad.decide_parts(parts, "segad", "part_id").share == 0.05


def test_too_few_normal_parts_for_the_share_are_told(parts: fo.Dataset) -> None:
    compute(parts)
    decisions = segad.decide_parts(parts, "segad", views="camera", share=0.01)
    assert not decisions.flagged
    assert any("cannot be flagged at a share of 0.01" in warning for warning in decisions.warnings)
    assert min(part.p_value for part in decisions.parts) == pytest.approx(1 / (NORMALS + 1))


def test_pictures_without_a_part_and_parts_with_one_view(parts: fo.Dataset) -> None:
    lonely, nameless = parts.match_tags("test").limit(2)
    nameless["part_id"] = None
    nameless.save()
    compute(parts)
    decisions = segad.decide_parts(parts, "segad", views="camera", share=0.06)
    assert decisions[lonely["part_id"]].pictures == 1
    assert parts[nameless.id]["segad_part"] is None
    assert "1 scored picture has no 'part_id' and belong to no part" in decisions.warnings
    assert any("1 part lacks a view" in warning for warning in decisions.warnings)


def test_a_view_of_which_no_normal_is_known(parts: fo.Dataset) -> None:
    last = parts.last()
    last["camera"] = "top"
    last.save()
    compute(parts)
    decisions = segad.decide_parts(parts, "segad", views="camera", share=0.06)
    assert decisions[last["part_id"]].pictures == 1 and not decisions[last["part_id"]].anomalous
    assert any("Of view 'top' no normal picture is known" in warning for warning in decisions.warnings)


def test_pictures_of_a_part_that_were_compared_with_each_other_are_told(parts: fo.Dataset) -> None:
    compute(parts, groups=None)
    decisions = segad.decide_parts(parts, "segad", "part_id")
    assert any("Pictures of 20 normal parts were compared with each other" in text for text in decisions.warnings)
    compute(parts, overwrite=True)  # the decisions follow
    assert not any("compared with each other" in text for text in segad.list_parts(parts, "segad").warnings)


def test_wrong_requests(parts: fo.Dataset) -> None:
    compute(parts, groups="auto")
    refusals = [
        ({}, "is not grouped: name the field"),
        ({"by": "nothing"}, "by='nothing' is no field"),
        ({"by": "defect"}, "holds values of type Classification"),
        ({"by": "part_id", "views": "nowhere"}, "views='nowhere' is no field"),
        ({"by": "part_id", "share": 0}, "share=0 must be a number"),
        ({"by": "part_id", "key": "other"}, "has no run 'other'"),
    ]
    for arguments, message in refusals:
        with pytest.raises(ValueError, match=message):
            segad.decide_parts(parts, **arguments)  # type: ignore[arg-type]
    assert not parts.has_sample_field("segad_part")
    segad.compute_segment_anomalies(parts, "within", method="within_image", segments="grid:4")
    with pytest.raises(ValueError, match="knows no scores of normal images"):
        segad.decide_parts(parts, "within", "part_id")
    with pytest.raises(ValueError, match="Nothing is decided on the parts of 'within'"):
        segad.list_parts(parts, "within")


def test_decisions_follow_new_images_and_marks(parts: fo.Dataset) -> None:
    later = parts.match(fo.ViewField("part_id") == f"part {FIRST_BAD}")
    earlier = parts.match_tags("test").exclude(later)
    settings = {"reference": parts.match_tags("good"), "segments": "tiles:0.4:0.2", "groups": "part_id"}
    segad.compute_segment_anomalies(earlier, **settings)
    assert len(segad.decide_parts(parts, "segad", views="camera", share=0.06).parts) == GOOD + BAD - 1
    segad.score_new(later, "segad")
    assert segad.list_parts(parts, "segad")[f"part {FIRST_BAD}"].anomalous
    segad.mark_normal(later, "segad")
    segad.rescore(parts, "segad")
    assert not segad.list_parts(parts, "segad")[f"part {FIRST_BAD}"].anomalous


def test_a_deleted_run_leaves_no_trace(parts: fo.Dataset) -> None:
    before = snapshot(parts)
    compute(parts)
    with_run = snapshot(parts)
    segad.decide_parts(parts, "segad", views="camera")
    with pytest.raises(ValueError, match="defect_mask"):
        segad.evaluate_anomalies(parts, "segad", gt_field="segad_part")
    segad.delete_run(parts, "segad")
    assert snapshot(parts) == before
    parts.add_sample_field("segad_part", fo.StringField)
    with pytest.raises(ValueError, match="exist and belong to no run"):
        compute(parts)
    parts.delete_sample_field("segad_part")
    compute(parts)
    assert snapshot(parts)["schema"] == with_run["schema"]


def test_normal_images_of_a_bank_file_count_as_the_parts_that_it_knows(parts: fo.Dataset, tmp_path: Path) -> None:
    compute(parts)
    bank = segad.save_bank(parts, "segad", tmp_path / "bank.safetensors")
    line = parts.match_tags("test").clone()
    try:
        segad.score_new(line, "line", bank=bank)
        decisions = segad.decide_parts(line, "line", by="part_id", share=0.06)
        assert decisions.record.normals == NORMALS
        assert {part.part for part in decisions.flagged} == {f"part {FIRST_BAD}", f"part {FIRST_BAD + 1}"}
        assert decisions.flagged[0].p_value == pytest.approx(1 / (NORMALS + 1))
        assert any("cannot be found in dataset" in warning for warning in decisions.warnings)
        with pytest.raises(ValueError, match="No normal image of 'line' has a known part and view"):
            segad.decide_parts(line, "line", by="part_id", views="camera")
        told = segad.decide_parts(line, "line", by="part_id", reference=parts)
        assert any("cannot be found in dataset" in warning for warning in told.warnings)  # a bank has names, no paths
    finally:
        line.delete()
