"""Evaluations that are kept on a dataset, on a real database: what they write, and that nothing else changes.

The pictures are cut into cells of 12 x 10 px; those with a red square are flagged, and their masks are these cells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from numpy.typing import NDArray
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.evaluation import writer
from fiftyone_segad.evaluation.writer import EvaluationWriter
from fiftyone_segad.registry import removal, run
from fiftyone_segad.registry.folders import dataset_folder, evaluations_folder
from fiftyone_segad.registry.run import EVALUATION_FIELDS

pytestmark = pytest.mark.usefixtures("colour_embedder")

FIELDS = {"checked", *(f"checked_{name}" for name in EVALUATION_FIELDS)}

FALSE_ALARM, MIXED, MISSED = 5, 6, 7  # images; the others are good
SIZES = [(96, 80)] * 4 + [(64, 48)] + [(96, 80)] * 3
OUTCOMES = ["TN"] * 5 + ["FP", "TP", "FN"]

Box = tuple[int, int, int, int]
RED: dict[int, list[Box]] = {FALSE_ALARM: [(12, 10, 36, 20)], MIXED: [(24, 20, 48, 40), (72, 60, 84, 70)]}
TRUTH: dict[int, list[Box]] = {MIXED: [(30, 20, 48, 40), (60, 5, 66, 10)], MISSED: [(40, 40, 52, 50)]}


def drawn(boxes: list[Box], size: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(size[::-1], bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def expected(index: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Predicted mask and ground truth of an image."""
    return drawn(RED.get(index, []), SIZES[index]), drawn(TRUTH.get(index, []), SIZES[index])


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> Iterator[fo.Dataset]:
    random = np.random.default_rng(7)
    paths = []
    for index, size in enumerate(SIZES):
        picture = random.integers(110, 130, (*size[::-1], 3), dtype=np.uint8)
        # Less red where it is no defect, so that defects exceed all normal images
        picture[expected(index)[0]] = (160, 100, 100) if index == FALSE_ALARM else (250, 20, 20)
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(picture).save(paths[-1])
    made = dataset_of(paths)
    masks = [fo.Segmentation(mask=expected(i)[1].astype(np.uint8)) if i in TRUTH else None for i in range(8)]
    made.set_values("defect_mask", masks)
    compute(made)
    yield made


def compute(dataset: fo.Dataset, **options: Any) -> segad.Run:
    settings = {"reference": dataset.limit(4), "segments": "grid:8", "threshold": 0.05}
    return segad.compute_segment_anomalies(dataset, **{**settings, **options})


def pixels(label: fo.Segmentation) -> NDArray[np.uint8]:
    with Image.open(label.mask_path) as image:
        return np.asarray(image).astype(np.uint8)


def snapshot(dataset: fo.Dataset) -> dict[str, Any]:
    """All that the database holds of a dataset, and all files of this package for it."""
    dataset.reload()
    passing = ("last_modified_at", "last_loaded_at", "_last_modified_at")
    samples = list(dataset._sample_collection.find().sort("_id"))
    folder = dataset_folder(dataset)
    document = {name: value for name, value in dataset._doc.to_dict().items() if name not in passing}
    runs = {key: dataset.get_run_info(key).config.serialize() for key in dataset.list_runs()}
    return {
        "dataset": document,
        "runs": runs,
        "evaluations": {key: dataset.get_evaluation_info(key).config.serialize() for key in dataset.list_evaluations()},
        "samples": [{name: value for name, value in each.items() if name not in passing} for each in samples],
        "files": {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()},
        "folders": {str(file) for file in folder.rglob("*") if file.is_dir()},
    }


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
    found = []
    for index, sample in enumerate(dataset):
        width, height = SIZES[index]
        mask = np.zeros((height, width), bool)
        for region in sample.checked_regions.detections:
            x, y, w, h = region.bounding_box
            x0, y0 = round(x * width), round(y * height)
            box = (x0, y0, x0 + round(w * width), y0 + round(h * height))
            found.append((index, region.label, region.outcome, box, region.area))
            assert region.mask.all() and region.mask.size == region.area
            if region.label != "miss":
                mask[box[1] : box[3], box[0] : box[2]] |= region.mask
                assert region.anomaly_score == pytest.approx(sample.segad_score, rel=1e-5), "its peak"
            else:
                assert region.anomaly_score < 0.05, "nothing is red there"
        np.testing.assert_array_equal(mask, expected(index)[0])
    assert sorted(found) == sorted(
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
    known = dataset.load_evaluation_results("checked")
    assert known.confusion_matrix(classes=["normal", "anomalous"]).tolist() == [[5, 1], [1, 1]]
    assert known.ytrue.tolist() == ["normal"] * 6 + ["anomalous"] * 2
    assert known.ypred.tolist() == ["normal"] * 5 + ["anomalous"] * 2 + ["normal"]
    assert known.scores == pytest.approx([1 - p for p in dataset.values("segad_pred.p_value")])
    figures = known.metrics()
    assert (figures["accuracy"], figures["precision"], figures["recall"]) == (6 / 8, 1 / 2, 1 / 2)
    ours = {name: value for name, value in results.metrics().items() if value is not None}
    assert {name: figures[name] for name in ours} == ours
    shown = {entry["key"]: entry["value"] for entry in known.custom_metrics.values()}
    del ours["precision"], ours["recall"]  # which the panel shows anyway
    assert shown == ours
    labels = {entry["key"]: entry["label"] for entry in known.custom_metrics.values()}
    assert labels["aupro_30"] == "AUPRO up to 0.3"
    assert "truth seen" in labels["image_f1max"], "an upper bound is not taken for what one will get"
    assert len(set(labels.values())) == len(labels)
    assert [entry["key"] for entry in known.custom_metrics.values() if entry["lower_is_better"]] == ["fpr"]
    assert all({"key", "value", "label", "lower_is_better"} == set(entry) for entry in known.custom_metrics.values())
    assert dataset.load_evaluation_view("checked").values("id") == dataset.values("id")
    assert dataset.get_run_info("checked").config.metrics == results.metrics()


def test_it_is_still_there_in_another_session(dataset: fo.Dataset) -> None:
    results = segad.evaluate_anomalies(dataset, eval_key="checked")
    dataset.save()
    dataset.clear_cache()
    again = fo.load_dataset(dataset.name)
    again.reload()
    known = again.load_evaluation_results("checked", cache=False)
    values = {entry["key"]: entry["value"] for entry in known.custom_metrics.values()}
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


def test_a_view_made_of_the_evaluation_that_it_replaces(dataset: fo.Dataset) -> None:
    segad.evaluate_anomalies(dataset, eval_key="checked")
    wrong = dataset.match(F("checked").is_in(["FP", "FN"]))
    results = segad.evaluate_anomalies(wrong, eval_key="checked", overwrite=True)
    assert sorted(results.outcomes.values()) == ["FN", "FP"]
    assert dataset.values("checked") == [None] * 5 + ["FP", None, "FN"]
    assert len(dataset.load_evaluation_results("checked").ytrue) == 2


def test_overwrite(dataset: fo.Dataset) -> None:
    segad.evaluate_anomalies(dataset.limit(6), eval_key="checked")
    old = Path(dataset.first().checked_errors.mask_path).parent
    before = snapshot(dataset)
    with pytest.raises(ValueError, match=r"Evaluation 'checked' exists; pass overwrite=True"):
        segad.evaluate_anomalies(dataset, eval_key="checked")
    assert snapshot(dataset) == before
    results = segad.evaluate_anomalies(dataset, eval_key="checked", overwrite=True)
    assert dataset.values("checked") == OUTCOMES
    assert not old.exists()
    assert [folder.name for folder in evaluations_folder(dataset).iterdir()] == [
        dataset.get_run_info("checked").config.errors
    ]
    assert dataset.list_evaluations() == ["checked"]
    assert dataset.load_evaluation_results("checked").metrics()["recall"] == 1 / 2
    assert dataset.get_run_info("checked").config.metrics == results.metrics()
    paths = [entry["path"] for entry in dataset.app_config.color_scheme.fields]
    assert paths.count("checked_regions") == paths.count("checked_errors") == 1


@pytest.mark.parametrize("eval_key", ["segad", "filepath", "two words", "1st", "", "segad_pred"])
def test_keys_that_cannot_be_used(dataset: fo.Dataset, eval_key: str) -> None:
    before = snapshot(dataset)
    with pytest.raises(ValueError, match=r"another run or field|letters, digits and underscores"):
        segad.evaluate_anomalies(dataset, eval_key=eval_key, overwrite=True)
    assert snapshot(dataset) == before


def test_fields_of_others_are_not_replaced(dataset: fo.Dataset) -> None:
    dataset.set_values("mine_iou", [0.5] * 8)
    with pytest.raises(ValueError, match="'mine' is the name of another run or field"):
        segad.evaluate_anomalies(dataset, eval_key="mine", overwrite=True)
    assert dataset.values("mine_iou") == [0.5] * 8


def test_deleted_from_outside(dataset: fo.Dataset) -> None:
    segad.evaluate_anomalies(dataset, eval_key="checked")
    dataset.delete_evaluation("checked")
    assert not dataset.has_sample_field("checked")
    with pytest.raises(ValueError, match="overwrite=True"):
        segad.evaluate_anomalies(dataset, eval_key="checked")
    segad.evaluate_anomalies(dataset, eval_key="checked", overwrite=True)
    assert dataset.values("checked") == OUTCOMES
    assert dataset.list_evaluations() == ["checked"]
    assert len(list(evaluations_folder(dataset).iterdir())) == 1
    dataset.delete_evaluations()
    segad.delete_run(dataset, "segad")
    assert not [name for name in dataset.get_field_schema() if name.startswith("checked")]
    assert not dataset_folder(dataset).exists()


def test_delete_run_finds_an_evaluation_that_the_app_renamed(dataset: fo.Dataset) -> None:
    before = set(dataset.get_field_schema())
    segad.evaluate_anomalies(dataset, eval_key="checked")
    dataset.rename_evaluation("checked", "final")
    assert dataset.load_evaluation_results("final").confusion_matrix().tolist() == [[5, 1], [1, 1]]
    segad.delete_run(dataset, "segad")
    assert dataset.list_evaluations() == []
    assert set(dataset.get_field_schema()) == {name for name in before if not name.startswith("segad_")}


@pytest.mark.parametrize("own_scheme", [False, True])
def test_delete_run_leaves_nothing(dataset: fo.Dataset, own_scheme: bool) -> None:
    segad.delete_run(dataset, "segad")
    if own_scheme:
        mine = [{"path": "mine", "fieldColor": "#00ff00"}]
        dataset.app_config.color_scheme = fo.ColorScheme(fields=mine, opacity=0.4)
        dataset.app_config.sidebar_groups = fo.DatasetAppConfig.default_sidebar_groups(dataset)
        dataset.mask_targets = {"defect_mask": {1: "dent"}}
        dataset.save()
    before = snapshot(dataset)
    compute(dataset)
    segad.evaluate_anomalies(dataset, eval_key="checked")
    segad.evaluate_anomalies(dataset.skip(5), eval_key="again")
    segad.delete_run(dataset, "segad")
    assert snapshot(dataset) == before
    assert not dataset_folder(dataset).exists()


def test_an_evaluation_alone_is_removed_without_a_trace(dataset: fo.Dataset) -> None:
    before = snapshot(dataset)
    segad.evaluate_anomalies(dataset, eval_key="checked")
    assert snapshot(dataset) != before
    removal.delete_evaluation(dataset, "checked")
    assert snapshot(dataset) == before
    removal.delete_evaluation(dataset, "checked")  # passed over


def test_other_evaluations_and_fields_stay(dataset: fo.Dataset) -> None:
    compute(dataset, key="other")
    segad.evaluate_anomalies(dataset, key="segad", eval_key="checked")
    segad.evaluate_anomalies(dataset, key="other", eval_key="kept")
    dataset.set_values("mine", [fo.Classification(label="normal")] * 8)
    dataset.evaluate_classifications("segad_pred", gt_field="mine", eval_key="theirs")
    # Another package's run that looks like ours
    dataset.register_run("theirs_too", dataset.init_run(evaluated="segad"))
    assert run.list_evaluations(dataset) == ["checked", "kept"]
    segad.delete_run(dataset, "segad")
    dataset.reload()
    assert sorted(dataset.list_evaluations()) == ["kept", "theirs"]
    assert sorted(dataset.list_runs()) == ["kept", "other", "theirs_too"]
    left = set(dataset.get_field_schema())
    assert not left & FIELDS
    assert left >= {"kept", *(f"kept_{name}" for name in EVALUATION_FIELDS), "mine", "theirs", "defect_mask"}
    assert dataset.values("kept") == OUTCOMES
    assert all(Path(sample.kept_errors.mask_path).is_file() for sample in dataset)
    assert set(dataset.mask_targets) == {"other_mask", "kept_errors"}
    paths = {entry["path"] for entry in dataset.app_config.color_scheme.fields}
    assert paths == {"other_pred", "other_segments", "other_regions", "other_mask", "kept_regions", "kept_errors"}
    assert dataset.load_evaluation_results("kept").custom_metrics


def test_an_evaluation_outlives_the_replacement_of_its_run(dataset: fo.Dataset) -> None:
    segad.evaluate_anomalies(dataset, eval_key="checked")
    compute(dataset, overwrite=True, segments="grid:4")
    assert dataset.values("checked") == OUTCOMES
    assert pixels(dataset.skip(MIXED).first().checked_errors).any()
    segad.delete_run(dataset, "segad")
    assert not FIELDS & set(dataset.get_field_schema())
    assert not dataset_folder(dataset).exists()


def test_a_clone_does_not_delete_the_files_of_its_source(dataset: fo.Dataset) -> None:
    segad.evaluate_anomalies(dataset, eval_key="checked")
    clone = dataset.clone()
    removal.delete_evaluation(clone, "checked")
    assert not clone.has_sample_field("checked_errors")
    clone.delete()
    assert all(Path(sample.checked_errors.mask_path).is_file() for sample in dataset)


def fail_at(number: int, error: BaseException) -> Callable[..., None]:
    """An EvaluationWriter.add that fails at an image."""
    add, count = EvaluationWriter.add, iter(range(1, 100))

    def failing(*args: Any) -> None:
        if next(count) == number:
            raise error
        add(*args)

    return failing


@pytest.mark.parametrize(
    ("number", "error", "earlier"),
    [
        pytest.param(1, OSError(28, "No space left on device"), False, id="full disk at once"),
        pytest.param(7, OSError(28, "No space left on device"), True, id="full disk later, after an earlier one"),
        pytest.param(7, KeyboardInterrupt(), False, id="interrupted"),
        pytest.param(1, KeyboardInterrupt(), True, id="interrupted at once, after an earlier one"),
    ],
)
def test_an_error_in_the_middle(
    dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException, earlier: bool
) -> None:
    if earlier:
        segad.evaluate_anomalies(dataset.limit(7), eval_key="checked")
    before = snapshot(dataset)
    monkeypatch.setattr(writer, "_BATCH", 2)  # some of it is in the database by then
    with monkeypatch.context() as patch:
        patch.setattr(EvaluationWriter, "add", fail_at(number, error))
        with pytest.raises(type(error)):
            segad.evaluate_anomalies(dataset, eval_key="checked", overwrite=True)
    after = snapshot(dataset)
    for part in before:
        assert after[part] == before[part], part
    segad.evaluate_anomalies(dataset, eval_key="checked", overwrite=True)
    assert dataset.values("checked") == OUTCOMES


def test_cancelled_by_the_progress_bar(dataset: fo.Dataset) -> None:
    before = snapshot(dataset)

    def stop(bar: Any) -> None:
        if bar.iteration >= 3:
            raise segad.RunCancelled("enough")

    with pytest.raises(segad.RunCancelled):
        segad.evaluate_anomalies(dataset, eval_key="checked", progress=stop)
    assert snapshot(dataset) == before


def test_error_maps_that_cannot_be_written(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    segad.evaluate_anomalies(dataset, eval_key="checked")
    before = snapshot(dataset)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(OSError, match="No space left"):
            segad.evaluate_anomalies(dataset, eval_key="checked", overwrite=True)
    assert snapshot(dataset) == before


def test_nothing_to_evaluate_leaves_nothing(dataset: fo.Dataset, tmp_path: Path) -> None:
    Image.new("RGB", (96, 80)).save(tmp_path / "late.png")
    late = dataset.add_sample(fo.Sample(filepath=str(tmp_path / "late.png")))
    before = snapshot(dataset)
    with pytest.raises(segad.RunError, match="None of the 1 samples"):
        segad.evaluate_anomalies(dataset.select(late), eval_key="checked")
    assert snapshot(dataset) == before


def test_an_error_at_the_very_end_leaves_no_part_of_it(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(dataset)
    segad.evaluate_anomalies(dataset, eval_key="checked")

    def fails(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no connection")

    with monkeypatch.context() as patch:
        patch.setattr(fo.Dataset, "evaluate_classifications", fails)
        with pytest.raises(RuntimeError, match="no connection"):
            segad.evaluate_anomalies(dataset, eval_key="checked", overwrite=True)
    assert snapshot(dataset) == before, "the one before was gone already, and the key is free"
    segad.evaluate_anomalies(dataset, eval_key="checked")


def test_what_a_killed_evaluation_left_is_replaced(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_BATCH", 2)
    with monkeypatch.context() as patch:
        patch.setattr(EvaluationWriter, "discard", lambda self: None)
        patch.setattr(EvaluationWriter, "add", fail_at(6, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            segad.evaluate_anomalies(dataset, eval_key="checked")
    assert dataset.count("checked_pending_truth") > 0
    segad.evaluate_anomalies(dataset.skip(6), eval_key="checked")
    assert not [name for name in dataset.get_field_schema() if "pending" in name]
    assert dataset.values("checked") == [None] * 6 + OUTCOMES[6:]
    assert dataset.values("checked_truth.label") == [None] * 6 + ["anomalous"] * 2, "nothing of the other is left"


def test_an_evaluation_that_is_not_kept_writes_nothing(dataset: fo.Dataset) -> None:
    before = snapshot(dataset)
    segad.evaluate_anomalies(dataset)
    assert snapshot(dataset) == before


def test_what_we_wrote_is_not_offered_as_ground_truth(dataset: fo.Dataset) -> None:
    from fiftyone_segad.plugin.forms import truth_choices

    segad.evaluate_anomalies(dataset, eval_key="checked")
    dataset.set_values("boxes", [fo.Detections()] * 8)
    assert truth_choices(dataset) == ["defect_mask", "boxes"]
