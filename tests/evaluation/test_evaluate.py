"""evaluate_anomalies on a real database: figures against scikit-learn, and ground truth of every kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

import fiftyone_segad as segad
from fiftyone_segad.data.truth import NO_TRUTH
from fiftyone_segad.engine.calibration import score_bins
from fiftyone_segad.evaluation.evaluator import coarse_edges
from fiftyone_segad.metrics import bootstrap
from fiftyone_segad.metrics.bootstrap import INTERVAL_NAMES
from fiftyone_segad.metrics.names import METRIC_NAMES
from fiftyone_segad.segments.maps import anomaly_map

pytestmark = pytest.mark.usefixtures("colour_embedder")


def square() -> NDArray[np.bool_]:
    mask = np.zeros((80, 96), bool)
    mask[30:46, 40:56] = True
    return mask


def square_mask(path: Path) -> Path:
    Image.fromarray(np.where(square(), 255, 0).astype(np.uint8)).save(path)
    return path


def maps_of(samples: fo.Dataset | fo.DatasetView) -> NDArray[np.float32]:
    records = {r.id: r for r in segad.load_run(samples, "segad").store.scores}
    return np.stack([anomaly_map(records[id].segments, records[id].scores) for id in samples.values("id")])


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
    truth[5] = square()
    maps = maps_of(dataset)
    assert metrics["pixel_auroc"] == pytest.approx(roc_auc_score(truth.ravel(), maps.ravel()), abs=1e-4)
    assert metrics["pixel_ap"] == pytest.approx(average_precision_score(truth.ravel(), maps.ravel()), abs=1e-4)
    scores = dataset.values("segad_score")
    assert scores == pytest.approx(maps.max(axis=(1, 2)), abs=1e-5)
    assert metrics["image_auroc"] == roc_auc_score([0] * 5 + [1], scores)
    assert (metrics["n_normal"], metrics["n_anomalous"]) == (5, 1)
    assert metrics["recall"] == 1
    assert 0 <= metrics["aupro_05"] <= metrics["aupro_30"] <= 1
    masks = np.stack([np.asarray(Image.open(sample.segad_mask.mask_path)) > 0 for sample in dataset])
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
    assert results.excluded == [{"id": late, "reason": "Run 'segad' has no score for it"}]
    assert late not in results.outcomes
    assert "1 sample was not evaluated" in results.report()
    with pytest.raises(segad.RunError, match="None of the 1 samples can be evaluated on run 'segad': Run 'segad' has"):
        segad.evaluate_anomalies(dataset.select(late))


def test_a_view_has_the_figures_of_its_samples(dataset: fo.Dataset) -> None:
    view = dataset.skip(3)
    results = segad.evaluate_anomalies(view)
    assert set(results.images) == set(view.values("id"))
    assert results.excluded == []
    metrics, whole = results.metrics(), segad.evaluate_anomalies(dataset).metrics()
    assert (metrics["n_normal"], metrics["n_anomalous"]) == (2, 1)
    assert metrics["pixel_auroc"] != whole["pixel_auroc"]
    truth = np.zeros((3, 80, 96), bool)
    truth[2] = square()
    assert metrics["pixel_auroc"] == pytest.approx(roc_auc_score(truth.ravel(), maps_of(view).ravel()), abs=1e-4)


def types(*names: str | None) -> list[fo.Classification | None]:
    return [None if name is None else fo.Classification(label=name) for name in names]


def test_samples_of_which_nothing_is_known_are_excluded(dataset: fo.Dataset) -> None:
    dataset.set_values("defect", types("good", None, "good", None, "good", "blot"))
    ids = dataset.values("id")
    results = segad.evaluate_anomalies(dataset)
    assert results.excluded == [{"id": ids[1], "reason": NO_TRUTH}, {"id": ids[3], "reason": NO_TRUTH}]
    assert set(results.outcomes) == {ids[0], ids[2], ids[4], ids[5]}
    assert (results.metrics()["n_normal"], results.metrics()["n_anomalous"]) == (3, 1)
    assert f"2 samples were not evaluated (results.excluded); the first is {ids[1]}" in results.report()
    with pytest.raises(segad.RunError, match=r"None of the 1 samples.*no ground truth"):
        segad.evaluate_anomalies(dataset.select(ids[3]))


def test_resized_masks_are_warned_of(dataset: fo.Dataset, tmp_path: Path) -> None:
    whole = segad.evaluate_anomalies(dataset)
    assert "were resized" not in whole.report()
    half = fo.Segmentation(mask=square()[::2, ::2].astype(np.uint8))  # 30:46 and 40:56 are even: nothing is lost
    dataset.skip(5).set_values("defect_mask", [half])
    results = segad.evaluate_anomalies(dataset)
    assert results.metrics() == whole.metrics()
    assert "1 ground-truth masks have another size than their image and were resized" in results.report()


SHAPES = {
    "Detections": fo.Detections(
        detections=[fo.Detection(label="blot", bounding_box=[40 / 96, 30 / 80, 16 / 96, 16 / 80])],
    ),
    "instance masks": fo.Detections(
        detections=[
            # The left half of the square within a box that is larger, and the right half
            fo.Detection(
                label="blot",
                bounding_box=[36 / 96, 26 / 80, 16 / 96, 24 / 80],
                mask=np.pad(np.ones((16, 8), bool), 4),
            ),
            fo.Detection(label="blot", bounding_box=[48 / 96, 30 / 80, 8 / 96, 16 / 80], mask=np.ones((16, 8), bool)),
        ],
    ),
    "Polylines": fo.Polylines(
        polylines=[
            fo.Polyline(
                label="blot",
                points=[[(40 / 96, 30 / 80), (56 / 96, 30 / 80), (56 / 96, 46 / 80), (40 / 96, 46 / 80)]],
                closed=True,
                filled=True,
            )
        ]
    ),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_ground_truth_as_shapes(dataset: fo.Dataset, kind: str) -> None:
    expected = segad.evaluate_anomalies(dataset).metrics()
    dataset.add_sample_field("shapes", fo.EmbeddedDocumentField, embedded_doc_type=type(SHAPES[kind]))
    dataset.skip(5).set_values("shapes", [SHAPES[kind]])
    results = segad.evaluate_anomalies(dataset, gt_field="shapes", eval_key="by_shape")
    assert results.metrics() == expected
    errors = np.asarray(Image.open(dataset.last().by_shape_errors.mask_path))
    np.testing.assert_array_equal(errors >= 2, square())


def test_a_line_is_no_ground_truth(dataset: fo.Dataset) -> None:
    line = fo.Polyline(label="blot", points=[[(0.1, 0.1), (0.5, 0.5)]])
    dataset.set_values("shapes", [None] * 5 + [fo.Polylines(polylines=[line])])
    results = segad.evaluate_anomalies(dataset, gt_field="shapes")
    assert [entry["id"] for entry in results.excluded] == [dataset.last().id]
    assert "is a line, which has no area" in results.excluded[0]["reason"]


def test_categories_have_rows_of_their_own(dataset: fo.Dataset) -> None:
    dataset.set_values("defect", types(*["good"] * 4, "stain", "blot"))
    dataset.set_values("category", types(*["cloth", "paper"] * 3))
    dataset.skip(4).limit(1).set_values("defect_mask", [fo.Segmentation(mask=square().astype(np.uint8))])
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
        highest = max(maps[ids[each]].max() for each in normal)
        expected = np.mean(maps[ids[index]][square()] > highest)
        assert results.images[ids[index]].aupimo == pytest.approx(expected, abs=2 / 256)


def test_a_defect_type_of_a_masked_image_is_never_good(dataset: fo.Dataset) -> None:
    dataset.set_values("defect", types(*["good"] * 6))
    results = segad.evaluate_anomalies(dataset)
    assert results.defects == ["defect"]
    assert (results.metrics()["n_normal"], results.metrics()["n_anomalous"]) == (5, 1)
    said = f"1 sample is called 'good' but the ground truth marks a defect.*the first is {dataset.last().id}"
    assert re.search(said, "\n".join(results.warnings))


def test_masks_whose_background_is_a_class(dataset: fo.Dataset) -> None:
    by_zero = segad.evaluate_anomalies(dataset)
    masks = [fo.Segmentation(mask=np.where(square() & (index == 5), 2, 1).astype(np.uint8)) for index in range(6)]
    dataset.set_values("classes", masks)
    (warning,) = segad.evaluate_anomalies(dataset, gt_field="classes").warnings  # no normal pixels for AUPIMO's
    assert warning.startswith("6 samples are defective in every pixel by 'classes'")
    assert warning.endswith(f"The first is {dataset.first().id}")
    advice = re.search(r"name it: (.*); dataset.save\(\)", warning)
    assert advice is not None
    exec(advice[1], {"dataset": dataset})
    dataset.save()
    again = segad.evaluate_anomalies(dataset, gt_field="classes")
    assert again.warnings == by_zero.warnings
    assert again.metrics() == by_zero.metrics()


def test_intervals_of_a_run(dataset: fo.Dataset) -> None:
    # Two defective images, of which the run finds one
    dataset.skip(4).limit(1).set_values("defect_mask", [fo.Segmentation(mask=square().astype(np.uint8))])
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


def test_bins_hold_every_map(dataset: fo.Dataset) -> None:
    store = segad.load_run(dataset, "segad").store
    bins = score_bins(store)
    edges = coarse_edges(store, bins)
    maps = maps_of(dataset)
    assert bins.low <= maps.min() and maps.max() <= bins.high
    assert edges[0] == 0 and (np.diff(edges) > 0).all() and edges[-1] < bins.count
    assert len(edges) > 20, "of 6 images of 20 segments"


def test_the_order_of_the_images_does_not_matter(dataset: fo.Dataset) -> None:
    # A defective image comes first in the store; the normal ones must be counted before it
    dataset.limit(1).set_values("defect_mask", [fo.Segmentation(mask=square().astype(np.uint8))])
    results = segad.evaluate_anomalies(dataset)
    maps = maps_of(dataset)
    ids = dataset.values("id")
    highest = maps[1:5].max()
    for index in (0, 5):
        expected = np.mean(maps[index][square()] > highest)
        assert results.images[ids[index]].aupimo == pytest.approx(expected, abs=2 / 256)
    assert results.metrics()["aupimo"] == pytest.approx(np.mean([results.images[ids[i]].aupimo for i in (0, 5)]))
    assert all(results.images[ids[index]].aupimo is None for index in range(1, 5))


def test_few_normal_pixels_are_warned_of(dataset: fo.Dataset) -> None:
    assert f"the normal images have {5 * 80 * 96} pixels" in segad.evaluate_anomalies(dataset).report(intervals=False)


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
    with pytest.raises(ValueError, match="gt_field='filepath' is not a Segmentation field"):
        segad.evaluate_anomalies(dataset, gt_field="filepath")
    with pytest.raises(ValueError, match="empty view"):
        segad.evaluate_anomalies(dataset.match_tags("absent"))
    with pytest.raises(ValueError, match="samples must be a FiftyOne dataset or view, got str"):
        segad.evaluate_anomalies("segad")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="samples is a view of patches; pass samples"):
        segad.evaluate_anomalies(dataset.to_patches("segad_segments"))
    results = segad.evaluate_anomalies(dataset)
    with pytest.raises(ValueError, match="draws=0 must be a whole number from 1 on"):
        results.intervals(0)


def test_what_a_run_or_an_evaluation_wrote_is_no_ground_truth(dataset: fo.Dataset) -> None:
    segad.evaluate_anomalies(dataset, eval_key="checked")
    for name, writer in (
        ("segad_mask", "run 'segad'"),
        ("segad_regions", "run 'segad'"),
        ("checked_errors", "evaluation 'checked'"),
    ):
        message = rf"gt_field='{name}' was written by {writer}.*that can be ground truth: \['defect_mask'\]"
        with pytest.raises(ValueError, match=message):
            segad.evaluate_anomalies(dataset, gt_field=name)
    dataset.clone_sample_field("segad_mask", "corrected")
    assert segad.evaluate_anomalies(dataset, gt_field="corrected").metrics()["pixel_f1"] in (1, None)


def test_the_threshold_with_the_best_f1(dataset: fo.Dataset) -> None:
    segad.set_threshold(dataset, "segad", "f1")
    metrics = segad.evaluate_anomalies(dataset).metrics()
    assert metrics["image_f1max"] == 1
    assert (metrics["precision"], metrics["recall"]) == (1, 1)
    predicted = np.asarray(Image.open(dataset.last().segad_mask.mask_path)) > 0
    truth = square()
    f1 = 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum())
    assert f1 == pytest.approx(metrics["pixel_f1max"], abs=0.02)


def test_warnings_of_a_threshold_do_not_outlast_it(dataset: fo.Dataset) -> None:
    strict = segad.load_run(dataset, "segad").warnings
    few = [warning for warning in strict if "cannot support" in warning or "score of a single normal" in warning]
    assert len(few) == 2, "four normal images for fpr:0.01"
    assert segad.set_threshold(dataset, "segad", 0.5).warnings == [each for each in strict if each not in few]
    assert not set(few) & set(segad.evaluate_anomalies(dataset).run.warnings)  # type: ignore[union-attr]
    segad.set_threshold(dataset, "segad", "f1")
    again = segad.set_threshold(dataset, "segad", "fpr:0.01").warnings
    assert sorted(again) == sorted(strict)


def test_the_contact_sheet_shows_map_mask_and_truth(dataset: fo.Dataset, tmp_path: Path) -> None:
    sheet = segad.contact_sheet(dataset.sort_by("segad_score", reverse=True), path=tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").size == sheet.size
    pixels = np.asarray(sheet).astype(int)
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 100) & (pixels[..., 2] < 100)
    columns = np.flatnonzero(red[:240].any(axis=0)) // 226
    assert {2, 3} <= set(columns.tolist()), "predicted mask and ground truth are drawn in red"
