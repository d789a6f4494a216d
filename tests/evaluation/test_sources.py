"""Evaluations of runs whose folder is gone, or was never on this machine: from fields, as precisely as these are."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from fiftyone_segad.metrics.names import METRIC_NAMES
from painted_dataset import MIXED, OUTCOMES, SIZES, expected, painted_dataset, pixels

pytestmark = pytest.mark.usefixtures("colour_embedder")

OF_IMAGES = {
    "image_auroc",
    "image_ap",
    "image_f1max",
    "image_f1",
    "precision",
    "recall",
    "fpr",
    "n_normal",
    "n_anomalous",
}
OF_MASKS = {"pixel_f1", "region_precision", "region_recall", "region_f1"}


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    return painted_dataset(dataset_of, tmp_path)


@pytest.fixture
def carried(dataset: fo.Dataset, tmp_path: Path) -> Iterator[fo.Dataset]:
    """Give what another machine has: a dataset that was exported and imported, without the folder of its run."""
    dataset.export(export_dir=str(tmp_path / "export"), dataset_type=fo.types.FiftyOneDataset)
    folder = segad.load_run(dataset, "segad").folder
    shutil.rmtree(folder)
    made = fo.Dataset.from_dir(str(tmp_path / "export"), fo.types.FiftyOneDataset)
    yield made
    made.delete()


def test_heatmaps_stand_in_for_maps(dataset: fo.Dataset, carried: fo.Dataset) -> None:
    results = segad.evaluate_anomalies(carried, eval_key="checked")
    metrics = results.metrics()
    assert "The folder of run 'segad' is gone" in results.warnings[0] and "heatmaps, which tell 256 scores" in str(
        results
    )
    # As tests/evaluation/test_writer.py has them from the folder
    assert carried.values("checked") == OUTCOMES
    assert metrics["precision"] == metrics["recall"] == 1 / 2 and metrics["fpr"] == 1 / 6
    assert metrics["pixel_f1"] == pytest.approx(720 / (720 + 240 + 30 + 240 + 120))
    assert (metrics["region_precision"], metrics["region_recall"]) == (1 / 3, 1 / 3)
    for index, sample in enumerate(carried):
        predicted, truth = expected(index)
        assert (pixels(sample.checked_errors) == predicted + 2 * truth).all()
    assert set(results.intervals(20)) == {"image_auroc", "image_ap", "pixel_auroc", "aupro_30", "aupro_05"}


def test_figures_are_nearly_those_of_full_precision(dataset_of: Callable[..., fo.Dataset], dataset: fo.Dataset) -> None:
    precise = segad.evaluate_anomalies(dataset).metrics()
    shutil.rmtree(Path(segad.load_run(dataset, "segad").folder) / "scores")
    coarse = segad.evaluate_anomalies(dataset).metrics()
    assert {name: coarse[name] for name in OF_IMAGES | OF_MASKS} == {
        name: precise[name] for name in OF_IMAGES | OF_MASKS
    }
    for name in ("pixel_ap", "pixel_f1max", "aupro_05"):
        assert coarse[name] == pytest.approx(precise[name], abs=0.02), name


def test_without_heatmaps_there_are_figures_of_images(dataset: fo.Dataset) -> None:
    precise = segad.evaluate_anomalies(dataset).metrics()
    shutil.rmtree(segad.load_run(dataset, "segad").folder)
    results = segad.evaluate_anomalies(dataset, eval_key="checked")
    metrics = results.metrics()
    assert {name: metrics[name] for name in OF_IMAGES} == {name: precise[name] for name in OF_IMAGES}
    assert all(metrics[name] is None for name in set(METRIC_NAMES) - OF_IMAGES)
    assert "only the figures of images exist" in results.warnings[0]
    assert not any("defective in every pixel" in text for text in results.warnings)
    assert set(results.intervals(20)) == {"image_auroc", "image_ap"}
    assert "nothing is known of pixels" in results.report()
    assert dataset.values("checked") == OUTCOMES
    assert dataset.values("checked_errors") == dataset.values("checked_iou") == [None] * len(SIZES)
    segad.delete_evaluation(dataset, "checked")


def test_a_heatmap_or_mask_that_is_gone_alone(dataset: fo.Dataset, tmp_path: Path) -> None:
    """Without its heatmap an image is excluded; without its mask it is cut where its heatmap is above the threshold."""
    run = segad.load_run(dataset, "segad")
    sample = dataset.skip(MIXED).first()
    shutil.rmtree(Path(run.folder) / "scores")
    Path(sample.segad_mask.mask_path).unlink()
    Path(dataset.first().segad_map.map_path).unlink()
    results = segad.evaluate_anomalies(dataset)
    assert [entry["id"] for entry in results.excluded] == [dataset.first().id]
    image = results.images[sample.id]
    assert (image.pixels.tp, image.pixels.fn) == (360, 30)


def test_runs_are_compared_without_their_folders(dataset: fo.Dataset) -> None:
    segad.compute_segment_anomalies(dataset, key="other", method="within_image", segments="grid:4")
    dataset.set_values("other_score", [None] + [0.5] * 7)
    shutil.rmtree(segad.load_run(dataset, "other").folder)
    comparison = segad.compare_runs(dataset, ["segad", "other"])
    assert comparison.left_out == 1 and set(comparison.results) == {"segad", "other"}


def test_what_is_in_fields_needs_no_folder(dataset: fo.Dataset, tmp_path: Path) -> None:
    shutil.rmtree(segad.load_run(dataset, "segad").folder)
    view = segad.second_opinions(dataset, "segad")
    assert len(view) == len(SIZES)
    (mark,) = segad.mark_normal(dataset.limit(1), "segad")
    assert [listed.id for listed in segad.list_marks(dataset, "segad")] == [mark.id]
    assert [taken.id for taken in segad.unmark(dataset, "segad")] == [mark.id] and segad.undo_review(dataset, "segad")
    for needs_it in (
        lambda: segad.set_threshold(dataset, "segad", 1.0),
        lambda: segad.rescore(dataset, "segad"),
        lambda: segad.score_new(dataset, "segad"),
        lambda: segad.save_bank(dataset, "segad", tmp_path / "bank.safetensors"),
        lambda: segad.explain_sample(dataset, "segad", dataset.first().id),
        lambda: segad.visualize_segments(dataset, "segad"),
    ):
        with pytest.raises(segad.RunError, match=r"is gone .*export_run\(\) and import_run\(\), or remove the run"):
            needs_it()
    segad.delete_run(dataset, "segad")
    assert not [name for name in dataset.get_field_schema() if name.startswith("segad")]
