"""Another threshold: predictions and masks follow, scores stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from conftest import ColourEmbedder
from small_runs import compute, make_dataset

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    return make_dataset(dataset_of, pictures)


def test_set_threshold(dataset: fo.Dataset) -> None:
    run = compute(dataset, threshold=1e9)
    assert dataset.count_values("segad_pred.label")["normal"] == 2
    old = dataset.last().segad_mask.mask_path
    changed = segad.set_threshold(dataset, "segad", 1e-6)
    assert dataset.count_values("segad_pred.label")["anomalous"] == 2
    assert dataset.last().segad_mask.mask_path != old, "browsers keep what they have seen of a path"
    assert not Path(old).exists()
    assert segad.load_run(dataset, "segad").thresholds == changed.thresholds != run.thresholds
    with pytest.raises(ValueError, match="not a threshold"):
        segad.set_threshold(dataset, "segad", float("nan"))


def test_a_number_is_kept_exactly(dataset: fo.Dataset) -> None:
    compute(dataset)
    exact = 0.1234567890123
    assert segad.set_threshold(dataset, "segad", exact).thresholds.image == exact
    segad.mark_normal(dataset.skip(5), "segad")
    assert segad.rescore(dataset, "segad").run.thresholds.image == exact


def test_f1_of_another_field_outlasts_a_rescore(dataset: fo.Dataset) -> None:
    compute(dataset)
    defect = fo.Detections(detections=[fo.Detection(label="dent", bounding_box=[0.2, 0.2, 0.3, 0.3])])
    dataset.set_values("dents", [fo.Detections()] * 5 + [defect])
    segad.set_threshold(dataset, "segad", "f1", gt_field="dents")
    segad.mark_normal(dataset.skip(4).limit(1), "segad")
    assert segad.rescore(dataset, "segad").run.thresholds.rule == "f1"
    calls = ColourEmbedder.calls
    dataset.set_values("dents", [fo.Detections()] * 6)
    segad.unmark(dataset, "segad")
    with pytest.raises(ValueError, match="'f1' needs defective images with masks in 'dents'"):
        segad.rescore(dataset, "segad")
    assert ColourEmbedder.calls == calls
    segad.undo_review(dataset, "segad")
    dataset.delete_sample_field("dents")
    segad.unmark(dataset, "segad")
    with pytest.raises(ValueError, match=r"'f1' on 'dents', which is no ground truth.*set_threshold"):
        segad.rescore(dataset, "segad")


def test_error_of_a_run_without_any_of_its_samples(dataset: fo.Dataset) -> None:
    compute(dataset)
    dataset.delete_samples(dataset.skip(4))
    segad.mark_normal(dataset.limit(1), "segad")
    for change in (lambda: segad.set_threshold(dataset, "segad", 1.0), lambda: segad.rescore(dataset, "segad")):
        with pytest.raises(ValueError, match="has none of the samples any more that run 'segad' scored"):
            change()
