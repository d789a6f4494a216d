"""Families are named, merged and split by hand, and all regions of one are marked in one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from kinds_of_defects import EACH, kinds_by_family


@pytest.fixture
def dataset(dataset_with_kinds: fo.Dataset) -> fo.Dataset:
    segad.find_families(dataset_with_kinds, "segad")
    return dataset_with_kinds


def label_of(dataset: fo.Dataset, kind: str) -> str:
    """The label of the family that has the regions of a kind of picture."""
    by_family = kinds_by_family(dataset, segad.list_families(dataset))
    return next(label for label, kinds in by_family.items() if kind in kinds)


def labels(dataset: fo.Dataset) -> set[str]:
    return set(dataset.values("segad_regions.detections.family", unwind=True))


def test_a_name_is_on_the_regions(dataset: fo.Dataset) -> None:
    red, blue = label_of(dataset, "red"), label_of(dataset, "blue")
    families = segad.name_family(dataset, "segad", red, " stain ")
    assert families == segad.list_families(dataset)
    assert families["stain"].named and not families[blue].named
    assert labels(dataset) == {"stain", blue}


def test_merged_families_are_one_and_stay_so(dataset: fo.Dataset) -> None:
    merged = segad.merge_families(dataset, "segad", [label_of(dataset, "red"), label_of(dataset, "blue")], "colour")
    assert [(family.label, family.size) for family in merged.families] == [("colour", 2 * EACH)]
    assert segad.find_families(dataset, "segad") == merged
    assert labels(dataset) == {"colour"}


def test_a_split_takes_the_kinds_apart_again(dataset: fo.Dataset) -> None:
    segad.merge_families(dataset, "segad", [label_of(dataset, "red"), label_of(dataset, "blue")], "colour")
    split = segad.split_family(dataset, "segad", "colour", name="other colour")
    assert sorted(map(sorted, kinds_by_family(dataset, split).values())) == [["blue"], ["red"]]
    assert segad.find_families(dataset, "segad") == split


def test_chosen_regions_leave_their_family(dataset: fo.Dataset) -> None:
    red = label_of(dataset, "red")
    leaving = segad.list_families(dataset)[red].region_ids[:2]
    split = segad.split_family(dataset, "segad", red, leaving)
    new = next(family for family in split.families if set(family.region_ids) == set(leaving))
    assert split[red].size == EACH - 2 and new.label.startswith("family ") and new.named


def test_a_family_is_marked_in_one_step_that_can_be_undone(dataset: fo.Dataset) -> None:
    red, blue = label_of(dataset, "red"), label_of(dataset, "blue")
    segad.name_family(dataset, "segad", blue, "scratch")
    spared = segad.list_families(dataset)[red].region_ids[0]
    normal = segad.mark_family(dataset, "segad", red, "normal", leave_out=[spared])
    assert len(normal) == EACH - 1 and {(mark.label, mark.why) for mark in normal} == {("normal", red)}
    anomalous = segad.mark_family(dataset, "segad", "scratch", "anomalous")
    assert len(anomalous) == EACH and {mark.defect for mark in anomalous} == {"scratch"}
    assert segad.undo_review(dataset, "segad")
    assert len(segad.list_marks(dataset, "segad")) == EACH - 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda dataset: segad.name_family(dataset, "segad", "rust", "dust"), "has no family 'rust'; its families are"),
        (lambda dataset: segad.name_family(dataset, "segad", "family 1", "new"), "neither 'new' nor 'single'"),
        (lambda dataset: segad.name_family(dataset, "segad", "family 1", "family 2"), "with merge_families()"),
        (lambda dataset: segad.merge_families(dataset, "segad", ["family 1"]), "two families or more"),
        (lambda dataset: segad.split_family(dataset, "segad", "family 1", ["x"]), "ids of regions of family"),
        (lambda dataset: segad.split_family(dataset, "segad", "family 1", []), "a part is empty"),
        (lambda dataset: segad.mark_family(dataset, "segad", "family 1", "odd"), "must be 'normal' or 'anomalous'"),
        (lambda dataset: segad.mark_family(dataset, "segad", "new", "normal"), "has no region"),
        (lambda dataset: segad.list_families(dataset)["rust"], "has no family 'rust'"),
    ],
)
def test_wrong_input_says_what_is_wrong_and_changes_nothing(
    dataset: fo.Dataset, wrong: Callable[[fo.Dataset], Any], message: str
) -> None:
    before = segad.list_families(dataset)
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        wrong(dataset)
    assert segad.list_families(dataset) == before
    assert not segad.list_marks(dataset, "segad")
