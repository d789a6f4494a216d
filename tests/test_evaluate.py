"""evaluate_anomalies on a real database: figures against scikit-learn, and ground truth of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

import fiftyone_segad as segad
from fiftyone_segad.evaluate import METRIC_NAMES
from fiftyone_segad.maps import anomaly_map

pytestmark = pytest.mark.usefixtures("colour_embedder")


def square_mask(path: Path) -> Path:
    mask = np.zeros((80, 96), np.uint8)
    mask[30:46, 40:56] = 255
    Image.fromarray(mask).save(path)
    return path


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path) -> Iterator[fo.Dataset]:
    made = dataset_of(pictures)
    truth = [None] * 5 + [fo.Segmentation(mask_path=str(square_mask(tmp_path / "mask.png")))]
    made.add_sample_field("defect_mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    made.set_values("defect_mask", truth)
    segad.compute_segment_anomalies(made, reference=made.limit(4), segments="tiles:0.4:0.2")
    yield made


def test_metrics_agree_with_scikit_learn(dataset: fo.Dataset) -> None:
    results = segad.evaluate_anomalies(dataset)
    metrics = results.metrics()
    assert set(metrics) == set(METRIC_NAMES)
    truth = np.zeros((6, 80, 96), bool)
    truth[5, 30:46, 40:56] = True
    records = {r.id: r for r in segad.load_run(dataset, "segad").store.scores}
    maps = np.stack([anomaly_map(records[id].segments, records[id].scores) for id in dataset.values("id")])
    assert metrics["pixel_auroc"] == pytest.approx(roc_auc_score(truth.ravel(), maps.ravel()), abs=1e-4)
    assert metrics["pixel_ap"] == pytest.approx(average_precision_score(truth.ravel(), maps.ravel()), abs=1e-4)
    scores = dataset.values("segad_score")
    assert scores == pytest.approx(maps.max(axis=(1, 2)), abs=1e-5)
    assert metrics["image_auroc"] == roc_auc_score([0] * 5 + [1], scores)
    assert (metrics["n_normal"], metrics["n_anomalous"]) == (5, 1)
    assert metrics["recall"] == 1
    assert 0 <= metrics["aupro_05"] <= metrics["aupro_30"] <= 1


def test_the_report_names_defects_and_what_is_missing(dataset: fo.Dataset) -> None:
    dataset.set_values("defect", [fo.Classification(label="good")] * 5 + [fo.Classification(label="blot")])
    dataset.set_values("category", [fo.Classification(label="cloth")] * 6)
    report = segad.evaluate_anomalies(dataset).report()
    assert "blot" in report
    assert "cloth" in report
    assert "1.000" in report
    normal_only = segad.evaluate_anomalies(dataset.limit(5))
    assert normal_only.metrics()["image_auroc"] is None
    assert normal_only.metrics()["fpr"] is not None
    assert "image_auroc" in normal_only.missing()
    assert "Not defined here (no defective images" in normal_only.report()
    defective_only = segad.evaluate_anomalies(dataset.skip(5)).metrics()
    assert defective_only["image_auroc"] is None
    assert defective_only["pixel_auroc"] is not None, "its image has normal pixels"
    assert defective_only["fpr"] is None
    assert defective_only["recall"] == 1


def test_an_empty_mask_is_a_normal_image(dataset: fo.Dataset, tmp_path: Path) -> None:
    Image.new("L", (96, 80)).save(tmp_path / "zero.png")
    dataset.limit(2).set_values("defect_mask", [fo.Segmentation(mask_path=str(tmp_path / "zero.png"))] * 2)
    assert segad.evaluate_anomalies(dataset).metrics()["n_normal"] == 5


def test_masks_in_the_database(dataset: fo.Dataset, tmp_path: Path) -> None:
    by_path = segad.evaluate_anomalies(dataset).metrics()
    mask = np.asarray(Image.open(square_mask(tmp_path / "again.png")))
    dataset.skip(5).set_values("defect_mask", [fo.Segmentation(mask=mask)])
    assert segad.evaluate_anomalies(dataset).metrics() == by_path


def test_masks_that_do_not_fit_are_told_by_sample(dataset: fo.Dataset, tmp_path: Path) -> None:
    Image.new("L", (10, 10), 255).save(tmp_path / "small.png")
    sample = dataset.first()
    dataset.limit(1).set_values("defect_mask", [fo.Segmentation(mask_path=str(tmp_path / "small.png"))])
    results = segad.evaluate_anomalies(dataset)
    assert [entry["id"] for entry in results.excluded] == [sample.id]
    assert "small.png" in results.excluded[0]["reason"]
    assert "10 x 10" in results.report()


def test_a_defect_without_a_mask_is_warned_of(dataset: fo.Dataset) -> None:
    dataset.set_values("defect", [fo.Classification(label="blot")] * 6)
    assert "5 samples have a defect type but no or an empty mask" in segad.evaluate_anomalies(dataset).report()


def test_samples_without_a_score_are_left_out(dataset: fo.Dataset, pictures: list[Path], tmp_path: Path) -> None:
    Image.open(pictures[0]).save(tmp_path / "late.png")
    late = dataset.add_sample(fo.Sample(filepath=str(tmp_path / "late.png")))
    results = segad.evaluate_anomalies(dataset)
    assert results.excluded == [{"id": late, "reason": "The run has no score for it"}]
    with pytest.raises(segad.RunError, match="scored none of the 1 samples"):
        segad.evaluate_anomalies(dataset.select(late))


def test_an_evaluation_is_kept_and_removed_with_its_run(dataset: fo.Dataset) -> None:
    results = segad.evaluate_anomalies(dataset, eval_key="checked")
    assert dataset.values("checked") == [results.outcomes[id] for id in dataset.values("id")]
    assert dataset.last()["checked"] == "TP"
    assert dataset.get_run_info("checked").config.metrics["recall"] == 1
    with pytest.raises(ValueError, match=r"exists.*overwrite=True"):
        segad.evaluate_anomalies(dataset, eval_key="checked")
    segad.evaluate_anomalies(dataset, eval_key="checked", overwrite=True)
    with pytest.raises(ValueError, match="another run or field"):
        segad.evaluate_anomalies(dataset, eval_key="filepath")
    segad.delete_run(dataset, "segad")
    assert not dataset.has_sample_field("checked")
    assert dataset.list_runs() == []


def test_wrong_input(dataset: fo.Dataset) -> None:
    with pytest.raises(ValueError, match=r"no run 'absent'; its runs are \['segad'\]"):
        segad.evaluate_anomalies(dataset, key="absent")
    with pytest.raises(ValueError, match="gt_field='segad_map' is not a Segmentation field"):
        segad.evaluate_anomalies(dataset, gt_field="segad_map")
    with pytest.raises(ValueError, match="empty view"):
        segad.evaluate_anomalies(dataset.match_tags("absent"))


def test_the_threshold_with_the_best_f1(dataset: fo.Dataset) -> None:
    segad.set_threshold(dataset, "segad", "f1")
    metrics = segad.evaluate_anomalies(dataset).metrics()
    assert metrics["image_f1max"] == 1
    assert (metrics["precision"], metrics["recall"]) == (1, 1)
    predicted = np.asarray(Image.open(dataset.last().segad_mask.mask_path)) > 0
    truth = np.zeros((80, 96), bool)
    truth[30:46, 40:56] = True
    f1 = 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum())
    assert f1 == pytest.approx(metrics["pixel_f1max"], abs=0.02)


def test_the_contact_sheet_shows_map_mask_and_truth(dataset: fo.Dataset, tmp_path: Path) -> None:
    sheet = segad.contact_sheet(dataset.sort_by("segad_score", reverse=True), path=tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").size == sheet.size
    pixels = np.asarray(sheet).astype(int)
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 100) & (pixels[..., 2] < 100)
    columns = np.flatnonzero(red[:240].any(axis=0)) // 226
    assert {2, 3} <= set(columns.tolist()), "predicted mask and ground truth are drawn in red"
