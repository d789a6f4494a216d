"""compare_runs on a real database: tables, views of what changed, and the paired bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from fiftyone_segad.evaluation.compare import RunComparison

pytestmark = pytest.mark.usefixtures("module_colour_embedder")


@pytest.fixture(scope="module")
def compared(
    module_dataset_of: Callable[..., fo.Dataset], module_pictures: list[Path], module_colour_embedder: object
) -> fo.Dataset:
    """Six pictures, the last two defective; run "low" flags every image, run "high" the highest score only."""
    made = module_dataset_of(module_pictures)
    mask = np.zeros((80, 96), np.uint8)
    mask[30:46, 40:56] = 255
    made.add_sample_field("defect_mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    made.skip(4).set_values("defect_mask", [fo.Segmentation(mask=mask), fo.Segmentation(mask=mask)])
    for key, segments in (("low", "tiles:0.4:0.2"), ("high", "tiles:0.5:0.25")):
        segad.compute_segment_anomalies(made, key=key, reference=made.limit(4), segments=segments)
    segad.set_threshold(made, "low", -1.0)
    scores = sorted(made.values("high_score"))
    segad.set_threshold(made, "high", (scores[-1] + scores[-2]) / 2)
    return made


@pytest.fixture
def dataset(compared: fo.Dataset) -> Iterator[fo.Dataset]:
    """Give a copy that may be written to."""
    clone = compared.clone()
    yield clone
    clone.delete()


@pytest.fixture(scope="module")
def comparison(compared: fo.Dataset) -> RunComparison:
    return segad.compare_runs(compared, ["low", "high"])


def test_differences_are_those_of_the_outcomes(compared: fo.Dataset, comparison: RunComparison) -> None:
    ids, scores = compared.values(["id", "high_score"])
    highest = int(np.argmax(scores))
    assert highest == 5, "the picture with the bright square"
    # "low" calls all six anomalous, "high" only the last: it mends the four normal ones and loses the fifth
    assert set(comparison.differences()["fixed"]) == set(ids[:4])
    assert comparison.differences()["broken"] == [ids[4]]
    reverse = comparison.differences("low", "high")
    assert (reverse["fixed"], set(reverse["broken"])) == ([ids[4]], set(ids[:4]))


def test_views_hold_the_differences_in_their_order(comparison: RunComparison) -> None:
    for kind in ("fixed", "broken"):
        assert comparison.view(kind).values("id") == comparison.differences()[kind]
    fixed = comparison.view("fixed").values("high_score")
    assert fixed == sorted(fixed, reverse=True)


def test_rows_and_table(comparison: RunComparison) -> None:
    low, high = comparison.rows()
    assert (low["run"], low["recall"], low["fpr"]) == ("low", 1, 1)
    assert (high["run"], high["recall"], high["fpr"]) == ("high", 0.5, 0)
    table = comparison.table(draws=20)
    assert "'high' against 'low': 4 fixed, 1 broken" in table
    assert "image_auroc" in table


def test_the_bootstrap_is_paired(dataset: fo.Dataset) -> None:
    segad.compute_segment_anomalies(dataset, key="same", reference=dataset.limit(4), segments="tiles:0.4:0.2")
    same = segad.compare_runs(dataset, ["low", "same"]).paired_bootstrap(draws=50)
    assert set(same) == {"image_auroc", "image_ap", "pixel_auroc", "aupro_30", "aupro_05"}
    for difference in same.values():
        assert (difference.value, difference.low, difference.high, difference.p) == (0, 0, 0, 1)


def test_the_bootstrap_sees_what_is_better(compared: fo.Dataset) -> None:
    comparison = segad.compare_runs(compared, ["low", "high"])
    ours, theirs = comparison.results["high"], comparison.results["low"]
    for image in ours.images.values():
        image.score = float(image.defective)  # always right
    for id, image in theirs.images.items():
        image.score = -ours.images[id].score  # always wrong
    difference = comparison.paired_bootstrap(draws=200)["image_auroc"]
    assert (difference.value, difference.low, difference.high) == (1, 1, 1)
    assert difference.p == pytest.approx(2 / 201)


def test_only_common_images_are_compared(dataset: fo.Dataset) -> None:
    segad.compute_segment_anomalies(dataset.skip(1), key="part", reference=dataset.limit(4), segments="tiles:0.4:0.2")
    comparison = segad.compare_runs(dataset, ["low", "part"])
    assert comparison.left_out == 1
    assert [len(results.images) for results in comparison.results.values()] == [5, 5]
    assert "1 sample was left out, which not all of the runs scored" in comparison.table(draws=10)


def test_nothing_is_written(compared: fo.Dataset) -> None:
    before = set(compared.get_field_schema()), compared.list_runs(), compared.list_evaluations()
    segad.compare_runs(compared, ["low", "high"])
    assert (set(compared.get_field_schema()), compared.list_runs(), compared.list_evaluations()) == before


@pytest.mark.parametrize("keys", ["low", ["low"], ["low", "low"], []])
def test_error_without_two_runs(compared: fo.Dataset, keys: list[str]) -> None:
    with pytest.raises(ValueError, match="at least two different runs"):
        segad.compare_runs(compared, keys)


def test_errors_name_what_is_wrong(compared: fo.Dataset, comparison: RunComparison) -> None:
    with pytest.raises(ValueError, match="no run 'other'"):
        segad.compare_runs(compared, ["low", "other"])
    with pytest.raises(ValueError, match="'other' was not compared; those are \\['low', 'high'\\]"):
        comparison.differences("other")
    with pytest.raises(ValueError, match="'fixed' or 'broken'"):
        comparison.view("mended")


def test_runs_without_a_common_image_are_refused(dataset: fo.Dataset) -> None:
    for key, samples in (("last", dataset.skip(5)), ("first", dataset.limit(1))):
        segad.compute_segment_anomalies(
            samples, key=key, reference=dataset.limit(4), segments="tiles:0.4:0.2", threshold=1.0
        )
    with pytest.raises(segad.RunError, match="No sample was scored by all"):
        segad.compare_runs(dataset, ["first", "last"])
