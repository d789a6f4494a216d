"""compare_runs on a real database: tables, views of what changed, and the paired bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.evaluation.compare import RunComparison

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path) -> Iterator[fo.Dataset]:
    """Six pictures, the last two defective; run "low" flags every image, run "high" the highest score only."""
    made = dataset_of(pictures)
    mask = np.zeros((80, 96), np.uint8)
    mask[30:46, 40:56] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    made.add_sample_field("defect_mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    made.skip(4).set_values("defect_mask", [fo.Segmentation(mask_path=str(tmp_path / "mask.png"))] * 2)
    for key, segments in (("low", "tiles:0.4:0.2"), ("high", "tiles:0.5:0.25")):
        segad.compute_segment_anomalies(made, key=key, reference=made.limit(4), segments=segments)
    segad.set_threshold(made, "low", -1.0)
    scores = sorted(made.values("high_score"))
    segad.set_threshold(made, "high", (scores[-1] + scores[-2]) / 2)
    yield made


@pytest.fixture
def comparison(dataset: fo.Dataset) -> RunComparison:
    return segad.compare_runs(dataset, ["low", "high"])


def test_differences_are_those_of_the_outcomes(dataset: fo.Dataset, comparison: RunComparison) -> None:
    ids, scores = dataset.values(["id", "high_score"])
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


def test_the_bootstrap_sees_what_is_better(comparison: RunComparison) -> None:
    ours, theirs = comparison.results["high"], comparison.results["low"]
    for image in ours.images.values():
        image.score = float(image.defective)  # always right
    for id, image in theirs.images.items():
        image.score = -ours.images[id].score  # always wrong
    found = comparison.paired_bootstrap(draws=200)["image_auroc"]
    assert (found.value, found.low, found.high) == (1, 1, 1)
    assert found.p == pytest.approx(2 / 201)


def test_only_common_images_are_compared(dataset: fo.Dataset) -> None:
    segad.compute_segment_anomalies(dataset.skip(1), key="part", reference=dataset.limit(4), segments="tiles:0.4:0.2")
    comparison = segad.compare_runs(dataset, ["low", "part"])
    assert comparison.left_out == 1
    assert [len(results.images) for results in comparison.results.values()] == [5, 5]
    assert "1 sample was left out, which not all of the runs scored" in comparison.table(draws=10)


def test_nothing_is_written(dataset: fo.Dataset) -> None:
    before = set(dataset.get_field_schema()), dataset.list_runs(), dataset.list_evaluations()
    segad.compare_runs(dataset, ["low", "high"])
    assert (set(dataset.get_field_schema()), dataset.list_runs(), dataset.list_evaluations()) == before


@pytest.mark.parametrize("keys", ["low", ["low"], ["low", "low"], []])
def test_error_without_two_runs(dataset: fo.Dataset, keys: list[str]) -> None:
    with pytest.raises(ValueError, match="at least two different runs"):
        segad.compare_runs(dataset, keys)


def test_errors_name_what_is_wrong(dataset: fo.Dataset, comparison: RunComparison) -> None:
    with pytest.raises(ValueError, match="no run 'other'"):
        segad.compare_runs(dataset, ["low", "other"])
    with pytest.raises(ValueError, match="'other' was not compared; those are \\['low', 'high'\\]"):
        comparison.differences("other")
    with pytest.raises(ValueError, match="'fixed' or 'broken'"):
        comparison.view("mended")
    segad.compute_segment_anomalies(
        dataset.skip(5), key="last", reference=dataset.limit(4), segments="tiles:0.4:0.2", threshold=1.0
    )
    segad.compute_segment_anomalies(
        dataset.limit(1), key="first", reference=dataset.limit(4), segments="tiles:0.4:0.2", threshold=1.0
    )
    with pytest.raises(segad.RunError, match="No sample was scored by all"):
        segad.compare_runs(dataset, ["first", "last"])
