"""Counts and rates for triage, on scores that can be checked by eye."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from fiftyone_segad.review.score_table import HISTOGRAM_BINS, ScoreTable
from fiftyone_segad.review.triage import disagreements, read_score_table


@pytest.fixture
def table() -> ScoreTable:
    """Five images: a and b normal, c and d anomalous, e unknown."""
    return ScoreTable(
        np.array(list("abcde")),
        np.array([0.1, 0.6, 0.4, 0.9, 0.7]),
        np.array(["normal", "normal", "anomalous", "anomalous", "unknown"]),
        ["good", "good", "dent", "crack", None],
    )


@pytest.mark.parametrize(
    ("threshold", "flagged", "outcomes"),
    [
        pytest.param(0.5, 3, (1, 1, 1, 1), id="one of each, and the unknown one"),
        pytest.param(0.9, 0, (0, 0, 2, 2), id="a score at the threshold is not flagged"),
        pytest.param(0.0, 5, (2, 2, 0, 0), id="all"),
    ],
)
def test_counts(table: ScoreTable, threshold: float, flagged: int, outcomes: tuple[int, ...]) -> None:
    counts = table.confusion(threshold)
    assert table.flagged(threshold) == flagged
    assert (counts.tp, counts.fp, counts.fn, counts.tn) == outcomes


def test_histogram_counts_every_image_once(table: ScoreTable) -> None:
    edges, counts = table.histogram()
    assert len(edges) == HISTOGRAM_BINS + 1
    assert {truth: int(values.sum()) for truth, values in counts.items()} == {
        "normal": 2,
        "anomalous": 2,
        "unknown": 1,
    }
    assert counts["anomalous"][-1] == 1, "the highest score is in the last bar"
    assert table.bar_at(edges[-1] + 1) == (0.9, 0.9)


def test_a_single_score_far_out_does_not_hide_the_others() -> None:
    scores = np.append(np.linspace(0, 1, 100), 1e9)
    truth = np.array(["normal"] * 100 + ["anomalous"])
    table = ScoreTable(np.arange(101).astype(str), scores, truth, [None] * 101)
    low, high = table.span
    assert (low, high < 20) == (0, True)
    edges, counts = table.histogram()
    assert edges[-1] == high
    assert counts["anomalous"][-1] == 1, "the bar at the end holds it"
    assert table.bar_at(high) == (1e9, 1e9)
    assert table.bar_at(0) == (0, scores[scores < edges[1]].max())


def test_the_best_f1_flags_at_its_threshold(table: ScoreTable) -> None:
    best = table.best_f1()
    assert best is not None
    f1, threshold = best
    assert f1 == table.confusion(threshold).f1 == 0.8  # c and d are found, b is a false alarm
    assert table.metrics(0.5)["image_auroc"] == 0.75
    unknown = ScoreTable(table.ids, table.scores, np.array(["unknown"] * 5), table.defects)
    assert unknown.best_f1() is None


def test_equal_scores_have_a_histogram() -> None:
    same = ScoreTable(np.array(["a", "b"]), np.array([2.0, 2.0]), np.array(["unknown"] * 2), [None, None])
    edges, counts = same.histogram()
    assert (np.diff(edges) > 0).all()
    assert counts["unknown"].sum() == 2
    assert not same.labelled


def test_by_defect(table: ScoreTable) -> None:
    crack, dent = table.by_defect(0.5)
    assert (crack["defect"], crack["images"], crack["flagged"], crack["recall"], crack["auroc"]) == (
        "crack",
        1,
        1,
        1,
        1,
    )
    assert (dent["defect"], dent["recall"], dent["auroc"]) == ("dent", 0, 0.5)  # above one of two normal images


@pytest.mark.usefixtures("colour_embedder")
def test_truth_of_a_dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> None:
    dataset = dataset_of(pictures)
    run = segad.compute_segment_anomalies(dataset.skip(1), reference=dataset.limit(2), segments="tiles:0.4:0.2")
    unlabelled = read_score_table(dataset, run)
    assert list(unlabelled.ids) == dataset.skip(1).values("id")
    assert not unlabelled.labelled
    names = ["good", "good", "OK", None, "good", "blot"]
    dataset.set_values("defect", [fo.Classification(label=name) if name else None for name in names])
    by_defect = read_score_table(dataset, run)
    assert by_defect.truth.tolist() == ["reference", "normal", "unknown", "normal", "anomalous"], (
        "what the run compares with is no test of it"
    )
    box = fo.Detections(detections=[fo.Detection(label="defect", bounding_box=[0.4, 0.4, 0.2, 0.2])])
    dataset.set_values("boxes", [None] * 4 + [box, None])
    segad.evaluate_anomalies(dataset, gt_field="boxes", eval_key="judged")
    assert read_score_table(dataset, run).truth.tolist()[3] == "anomalous", "the evaluation's truth comes first"
    np.testing.assert_array_equal(by_defect.scores, dataset.skip(1).values("segad_score"))


def test_second_opinions_begin_with_what_two_runs_disagree_on(
    dataset_of: Any, pictures: list[Path], colour_embedder: Any
) -> None:
    dataset = dataset_of(pictures)
    ids = dataset.values("id")
    for key, scores in (("a", [0.0, 0.9, 1.1, 3.0, 0.2, 0.4]), ("b", [0.0, 1.3, 1.2, 0.1, 0.2, 0.4])):
        run = segad.compute_segment_anomalies(dataset, key=key, method="unlabeled", threshold=1.0, segments="grid:2")
        dataset.set_values(run.field("score"), scores)
    alone = segad.second_opinions(dataset, "a").values("id")
    assert alone[:2] in ([ids[1], ids[2]], [ids[2], ids[1]]), "nearest to the threshold of 1"
    assert alone[-1] == ids[3]
    both = segad.second_opinions(dataset, "a", "b").values("id")
    assert both[:2] == [ids[3], ids[1]], "flagged by one of them only; 3 most clearly"
    assert set(both) == set(ids)
    assert segad.second_opinions(dataset, "a", max_images=2).values("id") == alone[:2]
    with pytest.raises(ValueError, match="no run 'c'"):
        segad.second_opinions(dataset, "a", "c")


def test_a_score_at_the_threshold_is_not_flagged(dataset_of: Any, pictures: list[Path], colour_embedder: Any) -> None:
    dataset = dataset_of(pictures[:4])
    for key, scores in (("a", [1.0, 1.0, 0.2, 0.1]), ("b", [1.5, 0.5, 0.3, 0.2])):
        run = segad.compute_segment_anomalies(dataset, key=key, method="unlabeled", threshold=1.0, segments="grid:2")
        dataset.set_values(run.field("score"), scores)
    flagged_by_b_only, *_ = dataset.values("id")
    assert disagreements(dataset, "a", "b") == disagreements(dataset, "b", "a") == [flagged_by_b_only]
