"""import_predictions: what another program has predicted is a run like any other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

import fiftyone_segad as segad
from fiftyone_segad.data.truth import read_truth
from layout_folders import picture

SIZE = (32, 24)
NAMES = ("good/000", "good/001", "good/002", "cut/000", "cut/001")


@pytest.fixture
def dataset(tmp_path: Path) -> fo.Dataset:
    """Five images with truth: three good ones, and two with a square of 6 px."""
    truth = np.zeros(SIZE[::-1], np.uint8)
    truth[8:14, 10:16] = 255
    for name in NAMES:
        picture(tmp_path / f"bolt/test/{name}.png", size=SIZE)
        if name.startswith("cut"):
            file = tmp_path / f"bolt/ground_truth/{name}_mask.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(truth).save(file)
    made = segad.load_folder(tmp_path / "bolt")
    yield made
    made.delete()


def maps(size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """A map of each image, as fine as it is: noise, and a bump on the defects."""
    random = np.random.default_rng(1)
    made = {}
    for name in NAMES:
        made[name] = random.random(size[::-1]).astype(np.float32)
        if name.startswith("cut"):
            made[name][7:14, 11:16] += np.float32(1.5)
    return made


def save(folder: Path, values: dict[str, Any]) -> Path:
    for name, array in values.items():
        file = folder / f"{name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, array)
    return folder


def named(dataset: fo.Dataset, field: str) -> dict[str, Any]:
    """Values of a field by the last two parts of the path."""
    paths = ["/".join(Path(path).with_suffix("").parts[-2:]) for path in dataset.values("filepath")]
    return dict(zip(paths, dataset.values(field), strict=True))


def test_a_folder_of_maps(dataset: fo.Dataset, tmp_path: Path) -> None:
    predicted = maps()
    run = segad.import_predictions(dataset, save(tmp_path / "maps", predicted), "other", model="PatchCore")
    assert str(run).startswith("Run 'other': 5 images predicted by PatchCore")
    assert (run.method, run.embedder, run.scored, run.skipped) == ("imported", "PatchCore", 5, [])
    assert run.thresholds.rule == "quantile:0.95"
    assert run.warnings == ["The predictions have no image scores; the peak of the map stands for each"]
    assert named(dataset, "other_score") == {name: pytest.approx(predicted[name].max()) for name in NAMES}
    assert {"other_pred", "other_map", "other_mask", "other_segments", "other_regions"} <= set(
        dataset.get_field_schema()
    )
    assert max(len(found) for found in dataset.values("other_segments.detections")) == 10


def test_figures_are_those_of_the_maps_themselves(dataset: fo.Dataset) -> None:
    predicted = {path: maps()[name] for name, path in named(dataset, "filepath").items()}
    segad.import_predictions(dataset, predicted, "other")
    results = segad.evaluate_anomalies(dataset, "other")
    truths = {sample.filepath: read_truth(dataset, "defect_mask")[sample.id].read(SIZE) for sample in dataset}
    empty = np.zeros(SIZE[::-1], bool)
    truth = [empty if truths[path] is None else truths[path] for path in predicted]
    pixels = roc_auc_score(np.concatenate(truth, axis=None), np.concatenate(list(predicted.values()), axis=None))
    images = roc_auc_score([mask.any() for mask in truth], [values.max() for values in predicted.values()])
    assert results.metrics()["pixel_auroc"] == pytest.approx(pixels, abs=1e-3), "scores are counted in bins"
    assert results.metrics()["image_auroc"] == pytest.approx(images)


def test_scores_that_came_with_the_maps_and_maps_on_another_scale(dataset: fo.Dataset, tmp_path: Path) -> None:
    predicted = maps()
    scores = {"good/000": 0.1, "good/001": 0.2, "good/002": 0.15, "cut/000": 0.9, "cut/001": 0.8}
    lines = ["filename;anomaly_score", *(f"{name}.png;{score}" for name, score in scores.items())]
    table = tmp_path / "scores.csv"
    table.write_text("\n".join(lines))
    huge = {name: 1000 * values for name, values in predicted.items()}
    folder = save(tmp_path / "maps", huge)
    run = segad.import_predictions(dataset, folder, "other", scores=table, threshold=0.5)
    assert run.warnings == []
    assert named(dataset, "other_score") == scores
    assert {name: label.label for name, label in named(dataset, "other_pred").items()} == {
        name: "anomalous" if name.startswith("cut") else "normal" for name in NAMES
    }
    record = {record.id: record for record in run.store.scores}
    peaks = [float(record[id].scores.max()) for id in dataset.values("id")]
    assert np.mean(peaks) == pytest.approx(np.mean(list(scores.values())), rel=1e-3)
    assert np.std(peaks) == pytest.approx(np.std(list(scores.values())), rel=1e-3)
    masks = {name: len(regions.detections) for name, regions in named(dataset, "other_regions").items()}
    assert masks["cut/000"] and not masks["good/000"]
    given = segad.import_predictions(dataset, huge, "dict", scores={f"{name}.png": s for name, s in scores.items()})
    assert given.settings["map_scale"] == run.settings["map_scale"]


def test_a_reference_sets_the_threshold_and_p_values(dataset: fo.Dataset) -> None:
    predicted = maps()
    good = dataset.match(fo.ViewField("defect.label") == "good")
    test = dataset.match(fo.ViewField("defect.label") == "cut")
    run = segad.import_predictions(test, predicted, "other", reference=good)
    assert run.thresholds.rule == "fpr:0.05" and run.normals == 3 and run.scored == 2
    assert run.thresholds.image == pytest.approx(max(predicted[name].max() for name in NAMES if "good" in name))
    assert run.false_alarm_share is not None
    assert [label.p_value for label in test.values("other_pred")] == [0.25, 0.25], "1 / (3 normals + 1)"
    assert good.values("other_score") == [None] * 3


def test_the_run_can_be_worked_with(dataset: fo.Dataset, tmp_path: Path) -> None:
    segad.import_predictions(dataset, maps(), "other", threshold=1.2)
    segad.import_predictions(dataset, {name: -values for name, values in maps().items()}, "worse")
    assert segad.set_threshold(dataset, "other", "alarms:1").thresholds.rule == "alarms:1"
    assert dataset.match(fo.ViewField("other_pred.label") == "anomalous").count() == 1
    assert len(segad.second_opinions(dataset, "other", other="worse")) > 0
    sample = dataset.match(fo.ViewField("other_pred.label") == "anomalous").first()
    segad.mark_normal(dataset.select(sample.id), "other")
    assert len(segad.list_marks(dataset, "other")) > 0
    comparison = segad.compare_runs(dataset, ["other", "worse"])
    assert "other" in comparison.table()
    segad.export_run(dataset, "other", tmp_path / "run.zip")
    again = segad.import_run(dataset, tmp_path / "run.zip", key="again")
    assert again.method == "imported" and dataset.values("again_score") == dataset.values("other_score")
    segad.delete_run(dataset, "other")
    assert sorted(segad.list_runs(dataset)) == ["again", "worse"]


@pytest.mark.parametrize("call", [segad.score_new, segad.rescore, segad.visualize_segments])
def test_what_needs_a_model_says_that_there_is_none(dataset: fo.Dataset, call: Callable[..., Any]) -> None:
    half = dict(list(maps().items())[:3])
    segad.import_predictions(dataset, half, "other", model="PatchCore")
    with pytest.raises((segad.RunError, ValueError), match=r"that PatchCore predicted, but no features|has no bank"):
        call(dataset, "other")


def test_images_without_a_usable_prediction_are_skipped(dataset: fo.Dataset) -> None:
    predicted = maps()
    del predicted["good/001"]
    predicted["good/002"][0, 0] = np.nan
    predicted["elsewhere/777"] = predicted["good/000"]
    run = segad.import_predictions(dataset, predicted, "other")
    assert run.scored == 3
    reasons = {"/".join(Path(entry["filepath"]).parts[-2:]): entry["reason"] for entry in run.skipped}
    assert reasons == {
        "good/001.png": "It has no prediction",
        "good/002.png": "The map holds values that are not finite",
    }
    assert len(dataset.match_tags(run.skipped_tag)) == 2
    assert any("1 prediction is of no image: elsewhere/777" in text for text in run.warnings)


def test_what_is_lost_of_finer_maps_is_told(dataset: fo.Dataset) -> None:
    fine = maps()
    fine["cut/000"] = np.zeros((48, 64), np.float32)
    fine["cut/000"][10, 10] = 8.0
    run = segad.import_predictions(dataset, fine, "other")
    assert named(dataset, "other_score")["cut/000"] == 8.0, "the peak is that of the whole map"
    assert "1 map is kept coarser than predicted, by which peaks fell by 6 at most" in run.warnings


@dataclass
class Batch:
    """Stands for a batch of anomalib's predictions."""

    image_path: list[str]
    anomaly_map: Any
    pred_score: Any


def test_batches_of_anomalib(dataset: fo.Dataset) -> None:
    paths, predicted = named(dataset, "filepath"), maps()
    scores = np.array([[0.1], [0.2], [0.3], [0.4], [0.5]], np.float32)
    stacked = np.stack([predicted[name] for name in NAMES])[:, None]
    present = Batch([paths[name] for name in NAMES], stacked, scores)
    segad.import_predictions(dataset, [present], "present")
    former = {"image_path": present.image_path, "anomaly_maps": stacked, "pred_scores": scores}
    segad.import_predictions(dataset, iter([former]), "former")
    expected = dict(zip(NAMES, scores.ravel().tolist(), strict=True))
    assert named(dataset, "present_score") == named(dataset, "former_score") == expected


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (
            ({"nothing/000": np.zeros((4, 4))}, "other"),
            ValueError,
            "None of the 1 predictions is of an image; the first",
        ),
        (("/absent/folder", "other"), FileNotFoundError, "There is no folder"),
        ((3, "other"), ValueError, "predictions is a int; pass a folder"),
        (([3], "other"), ValueError, "holds a int without image_path and anomaly_map"),
        (({"cut/000": "absent.npy"}, "other"), ValueError, "None of the predictions can be used.*absent.npy"),
        (
            ({"cut/000": (np.ones((4, 4)), 1.0), "cut/001": np.ones((4, 4))}, "other"),
            ValueError,
            "1 of the 2 .* no score",
        ),
        (({"cut/000": np.ones((4, 4))}, "two words"), ValueError, "letters, digits and underscores"),
    ],
)
def test_arguments_that_are_wrong(
    dataset: fo.Dataset, arguments: tuple[Any, str], error: type[Exception], said: str
) -> None:
    before = list(dataset.get_field_schema())
    with pytest.raises(error, match=said):
        segad.import_predictions(dataset, *arguments)
    dataset.reload()
    assert list(dataset.get_field_schema()) == before and segad.list_runs(dataset) == []


@pytest.mark.parametrize(
    ("scores", "error", "said"),
    [
        ("/absent.csv", FileNotFoundError, "There is no file"),
        ({"cut/000": "high"}, ValueError, "that of 'cut/000' is 'high', which is no finite number"),
        ({"cut/000": float("nan")}, ValueError, "no finite number"),
        ({"cut/000": 1.0}, ValueError, "4 of the 5 predictions have no score"),
    ],
)
def test_scores_that_are_wrong(dataset: fo.Dataset, scores: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        segad.import_predictions(dataset, maps(), "other", scores=scores)


def test_a_run_is_replaced_only_where_that_is_said(dataset: fo.Dataset) -> None:
    first = segad.import_predictions(dataset, maps(), "other")
    with pytest.raises(ValueError, match="exists"):
        segad.import_predictions(dataset, maps(), "other")
    second = segad.import_predictions(
        dataset, {name: 2 * values for name, values in maps().items()}, "other", overwrite=True
    )
    assert not Path(first.folder).exists() and Path(second.folder).exists()
    assert named(dataset, "other_score")["cut/000"] == pytest.approx(2 * maps()["cut/000"].max())
