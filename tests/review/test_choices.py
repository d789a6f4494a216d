"""Choices of images as views: in order, by what is true, and right also when that changes after they were saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

import fiftyone_segad as segad
from fiftyone_segad.review.choices import Choices
from fiftyone_segad.review.score_table import REFERENCE
from fiftyone_segad.review.triage import read_score_table

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    """Five pictures named a to e: a and b normal, c and d anomalous, nothing known of e; one is not scored."""
    kinds = [fo.Classification(label=name) for name in ("Good", "ok", "dent", "crack")]
    made = dataset_of(pictures, defect=[*kinds, None, None])
    segad.compute_segment_anomalies(made.limit(5), method="unlabeled", segments="tiles:0.4:0.2")
    made.set_values("name", [*"abcdef"])
    made.limit(5).set_values("segad_score", [0.1, 0.6, 0.4, 0.9, 0.7])
    return made


def names(view: fo.DatasetView) -> str:
    return "".join(view.values("name"))


def choices(dataset: fo.Dataset) -> Choices:
    return Choices(dataset, segad.load_run(dataset, "segad"))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("highest", "debca"),
        ("uncertain", "bceda"),  # distances from .52: .08, .12, .18, .38, .42
        ("flagged", "deb"),
        ("TP", "d"),
        ("FP", "b"),
        ("FN", "c"),
        ("TN", "a"),
    ],
)
def test_choices_come_in_the_order_of_looking(dataset: fo.Dataset, choice: str, expected: str) -> None:
    assert names(choices(dataset).choose(choice, 0.52)) == expected


def test_error_for_another_choice(dataset: fo.Dataset) -> None:
    with pytest.raises(ValueError, match="no choice 'best'"):
        choices(dataset).choose("best", 0.5)


def test_a_saved_view_follows_scores_and_truth(dataset: fo.Dataset) -> None:
    dataset.save_view("alarms", choices(dataset).choose("FP", 0.52))
    dataset.match({"name": "a"}).set_values("segad_score", [0.8])
    dataset.match({"name": "b"}).set_values("defect.label", ["scratch"])
    assert names(dataset.load_saved_view("alarms")) == "a"


def test_ranges_and_kinds(dataset: fo.Dataset) -> None:
    assert names(choices(dataset).between(0.4, 0.7)) == "ebc"
    assert names(choices(dataset).of_defect("crack")) == "d"


def test_the_reference_does_not_count_and_an_evaluation_knows_better(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path]
) -> None:
    made = dataset_of(pictures, defect=[fo.Classification(label="good")] * 5 + [fo.Classification(label="blot")])
    segad.compute_segment_anomalies(made.skip(1), reference=made.limit(3), segments="tiles:0.4:0.2")
    made.set_values("name", [*"abcdef"])
    made.skip(1).set_values("segad_score", [0.2, 0.3, 0.4, 0.5, 0.6])
    below_all = 0.0
    assert names(choices(made).choose("FP", below_all)) == "ed", "not b and c"
    box = fo.Detections(detections=[fo.Detection(label="defect", bounding_box=[0.4, 0.4, 0.2, 0.2])])
    made.set_values("boxes", [None] * 4 + [box, None])
    segad.evaluate_anomalies(made.match(F("name").is_in(["d", "e"])), gt_field="boxes", eval_key="judged")
    assert names(choices(made).choose("FP", below_all)) == "d"
    assert names(choices(made).choose("TP", below_all)) == "fe", "of f the field tells"
    table = read_score_table(made, segad.load_run(made, "segad"))
    assert table.truth.tolist() == [REFERENCE, REFERENCE, "normal", "anomalous", "anomalous"], "as the counts have it"
