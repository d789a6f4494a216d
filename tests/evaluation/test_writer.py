"""Evaluations that are kept on a dataset: their fields, files, and what FiftyOne knows of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.evaluation.writer import EvaluationWriter
from fiftyone_segad.registry.folders import evaluations_folder
from painted_dataset import (
    FALSE_ALARM,
    FIELDS,
    MISSED,
    MIXED,
    OUTCOMES,
    SIZES,
    expected,
    painted_dataset,
    pixels,
)

pytestmark = pytest.mark.usefixtures("module_colour_embedder")


@pytest.fixture(scope="module")
def scored(
    module_dataset_of: Callable[..., fo.Dataset],
    tmp_path_factory: pytest.TempPathFactory,
    module_colour_embedder: object,
) -> fo.Dataset:
    """Score the pictures once, for all tests of this file."""
    return painted_dataset(module_dataset_of, tmp_path_factory.mktemp("painted"))


@pytest.fixture
def dataset(scored: fo.Dataset) -> Iterator[fo.Dataset]:
    """Give a copy to evaluate; its run is that of the source."""
    clone = scored.clone()
    yield clone
    clone.delete()


def test_the_masks_are_what_this_file_takes_them_for(dataset: fo.Dataset) -> None:
    for index, sample in enumerate(dataset):
        np.testing.assert_array_equal(pixels(sample.segad_mask) > 0, expected(index)[0])


def test_the_fields_that_the_documentation_lists(dataset: fo.Dataset) -> None:
    before = set(dataset.get_field_schema())
    segad.evaluate_anomalies(dataset, eval_key="checked")
    assert set(dataset.get_field_schema()) - before == FIELDS
    listed = re.findall(r"``<key>(\w*)``", EvaluationWriter.__doc__ or "")
    assert {f"checked{name}" for name in listed} == FIELDS
    for name in FIELDS - {"checked"}:
        assert dataset.get_field(name).description
    schema = dataset.get_field_schema(flat=True)
    for name in ("area", "outcome", "anomaly_score"):
        assert f"checked_regions.detections.{name}" in schema, "usable in the App's sidebar"
    assert isinstance(schema["checked_regions.detections.area"], fo.IntField)


def test_outcomes_and_truth(dataset: fo.Dataset) -> None:
    results = segad.evaluate_anomalies(dataset, eval_key="checked")
    assert dataset.values("checked") == OUTCOMES
    assert dataset.values("checked") == [results.outcomes[id] for id in dataset.values("id")]
    assert dataset.values("checked_truth.label") == ["normal"] * 6 + ["anomalous"] * 2
    assert results.metrics()["precision"] == results.metrics()["recall"] == 1 / 2
    assert results.metrics()["fpr"] == 1 / 6


def test_figures_of_images(dataset: fo.Dataset) -> None:
    results = segad.evaluate_anomalies(dataset, eval_key="checked")
    # 360 px found, 120 + 120 px too much, 30 px missed
    assert dataset.values("checked_iou") == [None] * 5 + [0, pytest.approx(360 / 630), 0]
    assert dataset.values("checked_f1") == [None] * 5 + [0, pytest.approx(720 / 990), 0]
    # So few normal pixels that a defect must exceed all of them: only what is red does
    assert dataset.values("checked_aupimo") == [None] * 6 + [pytest.approx(360 / 390), 0]
    assert results.metrics()["aupimo"] == pytest.approx(180 / 390)
    assert results.metrics()["pixel_f1"] == pytest.approx(720 / (720 + 240 + 30 + 240 + 120))
    for sample in dataset:
        predicted = pixels(sample.segad_mask) > 0
        truth = np.zeros_like(predicted) if sample.defect_mask is None else sample.defect_mask.mask > 0
        union = (predicted | truth).sum()
        assert sample.checked_iou == (pytest.approx((predicted & truth).sum() / union) if union else None)
    assert dataset.sort_by("checked_iou", reverse=True).first().checked == "TP"


def test_error_maps(dataset: fo.Dataset) -> None:
    segad.evaluate_anomalies(dataset, eval_key="checked")
    for index, sample in enumerate(dataset):
        predicted, truth = expected(index)
        np.testing.assert_array_equal(pixels(sample.checked_errors), predicted + 2 * truth.astype(np.uint8))
        assert Path(sample.checked_errors.mask_path).parent.parent == evaluations_folder(dataset)
    assert set(np.unique(pixels(dataset.skip(MIXED).first().checked_errors))) == {0, 1, 2, 3}
    assert dataset.mask_targets["checked_errors"] == {1: "false alarm", 2: "miss", 3: "hit"}
    assert dataset.mask_targets["segad_mask"] == {255: "anomalous"}, "those of the run stay"


def test_regions(dataset: fo.Dataset) -> None:
    results = segad.evaluate_anomalies(dataset, eval_key="checked")
    rows = []
    for index, sample in enumerate(dataset):
        width, height = SIZES[index]
        mask = np.zeros((height, width), bool)
        for region in sample.checked_regions.detections:
            x, y, w, h = region.bounding_box
            x0, y0 = round(x * width), round(y * height)
            box = (x0, y0, x0 + round(w * width), y0 + round(h * height))
            rows.append((index, region.label, region.outcome, box, region.area))
            assert region.mask.all() and region.mask.size == region.area
            if region.label != "miss":
                mask[box[1] : box[3], box[0] : box[2]] |= region.mask
                assert region.anomaly_score == pytest.approx(sample.segad_score, rel=1e-5), "its peak"
            else:
                assert region.anomaly_score < 0.05, "nothing is red there"
        np.testing.assert_array_equal(mask, expected(index)[0])
    assert sorted(rows) == sorted(
        [
            (FALSE_ALARM, "false alarm", "FP", (12, 10, 36, 20), 240),
            (MIXED, "hit", "TP", (24, 20, 48, 40), 480),
            (MIXED, "false alarm", "FP", (72, 60, 84, 70), 120),
            (MIXED, "miss", "FN", (60, 5, 66, 10), 30),
            (MISSED, "miss", "FN", (40, 40, 52, 50), 120),
        ]
    )
    metrics = results.metrics()
    assert (metrics["region_precision"], metrics["region_recall"]) == (1 / 3, 1 / 3)
    total = results.regions()[-1]
    assert (total["found"], total["missed"], total["true"], total["false"]) == (1, 2, 1, 2)


def test_the_largest_false_alarms_in_one_line(dataset: fo.Dataset) -> None:
    segad.evaluate_anomalies(dataset, eval_key="checked")
    patches = dataset.to_patches("checked_regions")
    assert patches.count_values("checked_regions.label") == {"false alarm": 2, "hit": 1, "miss": 2}
    alarms = patches.match(F("checked_regions.label") == "false alarm").sort_by("checked_regions.area", reverse=True)
    assert alarms.values("checked_regions.area") == [240, 120]
    assert [Path(path).name for path in alarms.values("filepath")] == ["5.png", "6.png"]
    misses = dataset.filter_labels("checked_regions", F("outcome") == "FN")
    assert misses.values("checked_regions.detections.area") == [[30], [120]]
    assert [Path(path).name for path in dataset.match(F("checked") == "FN").values("filepath")] == ["7.png"]


def test_a_mask_of_outlier_segments(dataset: fo.Dataset) -> None:
    segad.compute_segment_anomalies(dataset, key="within", method="within_image", segments="grid:8")
    segad.evaluate_anomalies(dataset, key="within", eval_key="checked")
    marked = 0
    for index, sample in enumerate(dataset):
        predicted = pixels(sample.within_mask) > 0
        np.testing.assert_array_equal(pixels(sample.checked_errors), predicted + 2 * expected(index)[1])
        marked += predicted.sum()
    assert marked > 0


def test_fiftyone_knows_the_evaluation(dataset: fo.Dataset) -> None:
    results = segad.evaluate_anomalies(dataset, eval_key="checked")
    assert dataset.list_evaluations() == ["checked"]
    config = dataset.get_evaluation_info("checked").config
    assert (config.type, config.method) == ("classification", "binary")
    assert (config.pred_field, config.gt_field) == ("segad_pred", "checked_truth")
    evaluation = dataset.load_evaluation_results("checked")
    assert evaluation.confusion_matrix(classes=["normal", "anomalous"]).tolist() == [[5, 1], [1, 1]]
    assert evaluation.ytrue.tolist() == ["normal"] * 6 + ["anomalous"] * 2
    assert evaluation.ypred.tolist() == ["normal"] * 5 + ["anomalous"] * 2 + ["normal"]
    assert evaluation.scores == pytest.approx([1 - p for p in dataset.values("segad_pred.p_value")])
    figures = evaluation.metrics()
    assert (figures["accuracy"], figures["precision"], figures["recall"]) == (6 / 8, 1 / 2, 1 / 2)
    ours = {name: value for name, value in results.metrics().items() if value is not None}
    assert {name: figures[name] for name in ours} == ours
    shown = {entry["key"]: entry["value"] for entry in evaluation.custom_metrics.values()}
    del ours["precision"], ours["recall"]  # which the panel shows anyway
    assert shown == {**ours, "threshold": 0.05}
    labels = {entry["key"]: entry["label"] for entry in evaluation.custom_metrics.values()}
    assert labels["aupro_30"] == "AUPRO up to 0.3"
    assert "truth seen" in labels["image_f1max"], "an upper bound is not taken for what one will get"
    assert len(set(labels.values())) == len(labels)
    assert [entry["key"] for entry in evaluation.custom_metrics.values() if entry["lower_is_better"]] == ["fpr"]
    assert all(
        {"key", "value", "label", "lower_is_better"} == set(entry) for entry in evaluation.custom_metrics.values()
    )
    assert dataset.load_evaluation_view("checked").values("id") == dataset.values("id")
    assert dataset.get_run_info("checked").config.metrics == results.metrics()


def test_it_is_still_there_in_another_session(dataset: fo.Dataset) -> None:
    results = segad.evaluate_anomalies(dataset, eval_key="checked")
    dataset.save()
    dataset.clear_cache()
    again = fo.load_dataset(dataset.name)
    again.reload()
    evaluation = again.load_evaluation_results("checked", cache=False)
    values = {entry["key"]: entry["value"] for entry in evaluation.custom_metrics.values()}
    assert values["pixel_auroc"] == results.metrics()["pixel_auroc"]
    assert again.last().checked_regions.detections[0].outcome == "FN"


def test_a_view_leaves_the_other_samples_alone(dataset: fo.Dataset) -> None:
    view = dataset.skip(3).limit(4)
    results = segad.evaluate_anomalies(view, eval_key="checked")
    assert dataset.values("checked") == [None] * 3 + ["TN", "TN", "FP", "TP"] + [None]
    for name in FIELDS - {"checked"}:
        assert all(sample[name] is None for sample in dataset.match(F("checked") == None)), name  # noqa: E711
    assert dataset.load_evaluation_view("checked") == view
    assert (results.metrics()["n_normal"], results.metrics()["n_anomalous"]) == (3, 1)
    assert len(dataset.load_evaluation_results("checked").ytrue) == 4


def test_samples_that_are_excluded_have_no_values(dataset: fo.Dataset, tmp_path: Path) -> None:
    Image.new("RGB", (96, 80)).save(tmp_path / "late.png")
    late = dataset.add_sample(fo.Sample(filepath=str(tmp_path / "late.png")))
    results = segad.evaluate_anomalies(dataset, eval_key="checked")
    assert [entry["id"] for entry in results.excluded] == [late]
    assert dataset.values("checked") == [*OUTCOMES, None]
    assert dataset[late].checked_errors is None
    assert dataset.load_evaluation_view("checked").values("id") == dataset.values("id")[:8]
    assert len(dataset.load_evaluation_results("checked").ytrue) == 8


@pytest.mark.parametrize(
    "leave_out", [lambda d: d.select_fields("defect_mask"), lambda d: d.exclude_fields("segad_pred")]
)
def test_a_view_without_the_fields_of_the_run(
    dataset: fo.Dataset, leave_out: Callable[[fo.Dataset], fo.DatasetView]
) -> None:
    segad.evaluate_anomalies(leave_out(dataset.skip(4)), eval_key="checked")
    assert dataset.values("checked") == [None] * 4 + OUTCOMES[4:]
    assert dataset.load_evaluation_view("checked").values("id") == dataset.values("id")[4:]
