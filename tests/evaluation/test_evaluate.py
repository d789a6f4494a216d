"""evaluate_anomalies on a real database: figures against scikit-learn, exclusions, and what is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

import fiftyone_segad as segad
from fiftyone_segad.engine.calibration import score_bins
from fiftyone_segad.evaluation.sources import coarse_edges
from fiftyone_segad.metrics import bootstrap
from fiftyone_segad.metrics.bootstrap import INTERVAL_NAMES
from fiftyone_segad.metrics.names import METRIC_NAMES
from square_defect import maps_of, square, square_dataset, square_label, types

pytestmark = pytest.mark.usefixtures("module_colour_embedder")


@pytest.fixture(scope="module")
def scored(
    module_dataset_of: Callable[..., fo.Dataset], module_pictures: list[Path], module_colour_embedder: object
) -> fo.Dataset:
    """Score the pictures once, for tests that only read."""
    return square_dataset(module_dataset_of, module_pictures)


@pytest.fixture
def dataset(scored: fo.Dataset) -> Iterator[fo.Dataset]:
    """Give a copy whose fields may be changed; its run is that of the source."""
    clone = scored.clone()
    yield clone
    clone.delete()


@pytest.fixture
def own_run(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    """Score the pictures for one test, which changes or deletes the run."""
    return square_dataset(dataset_of, pictures)


def test_metrics_agree_with_scikit_learn(scored: fo.Dataset) -> None:
    results = segad.evaluate_anomalies(scored)
    metrics = results.metrics()
    assert set(metrics) == set(METRIC_NAMES)
    truth = np.zeros((6, 80, 96), bool)
    truth[5] = square()
    maps = maps_of(scored)
    assert metrics["pixel_auroc"] == pytest.approx(roc_auc_score(truth.ravel(), maps.ravel()), abs=1e-4)
    assert metrics["pixel_ap"] == pytest.approx(average_precision_score(truth.ravel(), maps.ravel()), abs=1e-4)
    scores = scored.values("segad_score")
    assert scores == pytest.approx(maps.max(axis=(1, 2)), abs=1e-5)
    assert metrics["image_auroc"] == roc_auc_score([0] * 5 + [1], scores)
    assert (metrics["n_normal"], metrics["n_anomalous"]) == (5, 1)
    assert metrics["recall"] == 1
    assert 0 <= metrics["aupro_05"] <= metrics["aupro_30"] <= 1
    masks = np.stack([np.asarray(Image.open(sample.segad_mask.mask_path)) > 0 for sample in scored])
    assert metrics["pixel_f1"] == pytest.approx(f1_score(truth.ravel(), masks.ravel()), abs=1e-12)
    assert metrics["aupimo"] == pytest.approx(np.mean(maps[5][square()] > maps[:5].max()), abs=2 / 256)


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


def test_samples_without_a_score_are_left_out(dataset: fo.Dataset, pictures: list[Path], tmp_path: Path) -> None:
    Image.open(pictures[0]).save(tmp_path / "late.png")
    late = dataset.add_sample(fo.Sample(filepath=str(tmp_path / "late.png")))
    results = segad.evaluate_anomalies(dataset)
    assert results.excluded == [{"id": late, "reason": "Run 'segad' has no score for it"}]
    assert late not in results.outcomes
    assert "1 sample was not evaluated" in results.report()
    with pytest.raises(segad.RunError, match="None of the 1 samples can be evaluated on run 'segad': Run 'segad' has"):
        segad.evaluate_anomalies(dataset.select(late))


def test_a_view_has_the_figures_of_its_samples(scored: fo.Dataset) -> None:
    view = scored.skip(3)
    results = segad.evaluate_anomalies(view)
    assert set(results.images) == set(view.values("id"))
    assert results.excluded == []
    metrics, of_all = results.metrics(), segad.evaluate_anomalies(scored).metrics()
    assert (metrics["n_normal"], metrics["n_anomalous"]) == (2, 1)
    assert metrics["pixel_auroc"] != of_all["pixel_auroc"]
    truth = np.zeros((3, 80, 96), bool)
    truth[2] = square()
    assert metrics["pixel_auroc"] == pytest.approx(roc_auc_score(truth.ravel(), maps_of(view).ravel()), abs=1e-4)


def test_categories_have_rows_of_their_own(dataset: fo.Dataset) -> None:
    dataset.set_values("defect", types(*["good"] * 4, "stain", "blot"))
    dataset.set_values("category", types(*["cloth", "paper"] * 3))
    dataset.skip(4).limit(1).set_values("defect_mask", [square_label()])
    results = segad.evaluate_anomalies(dataset)
    assert [(row["category"], row["defect"], row["n_normal"], row["n_anomalous"]) for row in results.rows()] == [
        ("cloth", "stain", 2, 1),
        ("cloth", "all", 2, 1),
        ("paper", "blot", 2, 1),
        ("paper", "all", 2, 1),
        ("mean", "all", 4, 2),
        ("all", "all", 4, 2),
    ]
    # The mask is no defect in the picture; its AUPIMO is measured on its own category
    maps = dict(zip(dataset.values("id"), maps_of(dataset), strict=True))
    ids = dataset.values("id")
    for index, normal in ((4, (0, 2)), (5, (1, 3))):
        highest = max(maps[ids[other]].max() for other in normal)
        expected = np.mean(maps[ids[index]][square()] > highest)
        assert results.images[ids[index]].aupimo == pytest.approx(expected, abs=2 / 256)


def test_intervals_of_a_run(dataset: fo.Dataset) -> None:
    # Two defective images, of which the run finds one
    dataset.skip(4).limit(1).set_values("defect_mask", [square_label()])
    results = segad.evaluate_anomalies(dataset)
    metrics = results.metrics()
    for name, (low, high) in results.intervals(300).items():
        assert low - 0.005 <= metrics[name] <= high + 0.005, name
    # Coarse histograms: weights of one give nearly the metrics
    images = list(results.images.values())
    assert tuple(results.intervals(10)) == INTERVAL_NAMES
    pixels = bootstrap.weighted_partial_areas(
        np.stack([image.normal for image in images]),
        np.stack([np.zeros_like(image.normal) if image.positive is None else image.positive for image in images]),
        np.ones((1, len(images))),
        1,
    )
    assert pixels == pytest.approx([metrics["pixel_auroc"]], abs=0.002)
    for image in images:
        assert image.normal.sum() == 80 * 96 - (256 if image.defective else 0)
        assert image.overlap is None if not image.defective else image.overlap.sum() == pytest.approx(1)


def test_bins_hold_every_map(scored: fo.Dataset) -> None:
    store = segad.load_run(scored, "segad").store
    bins = score_bins(store)
    edges = coarse_edges(store, bins)
    maps = maps_of(scored)
    assert bins.low <= maps.min() and maps.max() <= bins.high
    assert edges[0] == 0 and (np.diff(edges) > 0).all() and edges[-1] < bins.count
    assert len(edges) > 20, "of 6 images of 20 segments"


def test_the_order_of_the_images_does_not_matter(dataset: fo.Dataset) -> None:
    # A defective image comes first in the store; the normal ones must be counted before it
    dataset.limit(1).set_values("defect_mask", [square_label()])
    results = segad.evaluate_anomalies(dataset)
    maps = maps_of(dataset)
    ids = dataset.values("id")
    highest = maps[1:5].max()
    for index in (0, 5):
        expected = np.mean(maps[index][square()] > highest)
        assert results.images[ids[index]].aupimo == pytest.approx(expected, abs=2 / 256)
    assert results.metrics()["aupimo"] == pytest.approx(np.mean([results.images[ids[i]].aupimo for i in (0, 5)]))
    assert all(results.images[ids[index]].aupimo is None for index in range(1, 5))


def test_few_normal_pixels_are_warned_of(scored: fo.Dataset) -> None:
    assert f"the normal images have {5 * 80 * 96} pixels" in segad.evaluate_anomalies(scored).report(intervals=False)


def test_an_evaluation_is_kept_and_removed_with_its_run(own_run: fo.Dataset) -> None:
    results = segad.evaluate_anomalies(own_run, eval_key="checked")
    assert own_run.values("checked") == [results.outcomes[id] for id in own_run.values("id")]
    assert own_run.last()["checked"] == "TP"
    assert own_run.get_run_info("checked").config.metrics["recall"] == 1
    with pytest.raises(ValueError, match=r"exists.*overwrite=True"):
        segad.evaluate_anomalies(own_run, eval_key="checked")
    segad.evaluate_anomalies(own_run, eval_key="checked", overwrite=True)
    with pytest.raises(ValueError, match="another run or field"):
        segad.evaluate_anomalies(own_run, eval_key="filepath")
    segad.delete_run(own_run, "segad")
    assert not own_run.has_sample_field("checked")
    assert own_run.list_runs() == []


def test_wrong_input(scored: fo.Dataset) -> None:
    with pytest.raises(ValueError, match=r"no run 'absent'; its runs are \['segad'\]"):
        segad.evaluate_anomalies(scored, key="absent")
    with pytest.raises(ValueError, match="gt_field='filepath' is not a Segmentation field"):
        segad.evaluate_anomalies(scored, gt_field="filepath")
    with pytest.raises(ValueError, match="empty view"):
        segad.evaluate_anomalies(scored.match_tags("absent"))
    with pytest.raises(ValueError, match="samples must be a FiftyOne dataset or view, got str"):
        segad.evaluate_anomalies("segad")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="samples is a view of patches; pass samples"):
        segad.evaluate_anomalies(scored.to_patches("segad_segments"))
    results = segad.evaluate_anomalies(scored)
    with pytest.raises(ValueError, match="draws=0 must be a whole number from 1 on"):
        results.intervals(0)


def test_images_of_the_reference_are_told(scored: fo.Dataset) -> None:
    warnings = segad.evaluate_anomalies(scored).warnings
    assert sum("4 evaluated samples are among the normal images that run 'segad'" in text for text in warnings) == 1
    assert not any("among the normal images" in text for text in segad.evaluate_anomalies(scored.skip(4)).warnings)


def test_the_threshold_with_the_best_f1(own_run: fo.Dataset) -> None:
    segad.set_threshold(own_run, "segad", "f1")
    metrics = segad.evaluate_anomalies(own_run).metrics()
    assert metrics["image_f1max"] == 1
    assert (metrics["precision"], metrics["recall"]) == (1, 1)
    predicted = np.asarray(Image.open(own_run.last().segad_mask.mask_path)) > 0
    truth = square()
    f1 = 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum())
    assert f1 == pytest.approx(metrics["pixel_f1max"], abs=0.02)


def test_warnings_of_a_threshold_do_not_outlast_it(own_run: fo.Dataset) -> None:
    strict = segad.load_run(own_run, "segad").warnings
    few = [warning for warning in strict if "cannot support" in warning or "score of a single normal" in warning]
    assert len(few) == 2, "four normal images for fpr:0.05"
    assert segad.set_threshold(own_run, "segad", 0.5).warnings == [warning for warning in strict if warning not in few]
    assert not set(few) & set(segad.evaluate_anomalies(own_run).run.warnings)  # type: ignore[union-attr]
    segad.set_threshold(own_run, "segad", "f1")
    again = segad.set_threshold(own_run, "segad", "fpr:0.05").warnings
    assert sorted(again) == sorted(strict)


def test_the_contact_sheet_shows_map_mask_and_truth(scored: fo.Dataset, tmp_path: Path) -> None:
    sheet = segad.contact_sheet(scored.sort_by("segad_score", reverse=True), path=tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").size == sheet.size
    pixels = np.asarray(sheet).astype(int)
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 100) & (pixels[..., 2] < 100)
    columns = np.flatnonzero(red[:240].any(axis=0)) // 226
    assert {2, 3} <= set(columns.tolist()), "predicted mask and ground truth are drawn in red"
