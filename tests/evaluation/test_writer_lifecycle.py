"""Evaluations that are kept: replaced and deleted, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

import fiftyone_segad as segad
from fiftyone_segad.registry import keys, removal
from fiftyone_segad.registry.folders import dataset_folder, evaluations_folder
from fiftyone_segad.registry.keys import EVALUATION_FIELDS
from painted_dataset import (
    FIELDS,
    MIXED,
    OUTCOMES,
    compute,
    painted_dataset,
    pixels,
    snapshot,
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


@pytest.fixture
def own_run(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    """Score the pictures for one test, which replaces or deletes the run."""
    return painted_dataset(dataset_of, tmp_path)


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


def test_deleted_from_outside(own_run: fo.Dataset) -> None:
    segad.evaluate_anomalies(own_run, eval_key="checked")
    own_run.delete_evaluation("checked")
    assert not own_run.has_sample_field("checked")
    with pytest.raises(ValueError, match="overwrite=True"):
        segad.evaluate_anomalies(own_run, eval_key="checked")
    segad.evaluate_anomalies(own_run, eval_key="checked", overwrite=True)
    assert own_run.values("checked") == OUTCOMES
    assert own_run.list_evaluations() == ["checked"]
    assert len(list(evaluations_folder(own_run).iterdir())) == 1
    own_run.delete_evaluations()
    segad.delete_run(own_run, "segad")
    assert not [name for name in own_run.get_field_schema() if name.startswith("checked")]
    assert not dataset_folder(own_run).exists()


def test_delete_run_finds_an_evaluation_that_the_app_renamed(own_run: fo.Dataset) -> None:
    before = set(own_run.get_field_schema())
    segad.evaluate_anomalies(own_run, eval_key="checked")
    own_run.rename_evaluation("checked", "final")
    assert own_run.load_evaluation_results("final").confusion_matrix().tolist() == [[5, 1], [1, 1]]
    segad.delete_run(own_run, "segad")
    assert own_run.list_evaluations() == []
    assert set(own_run.get_field_schema()) == {name for name in before if not name.startswith("segad_")}


@pytest.mark.parametrize("own_scheme", [False, True])
def test_delete_run_leaves_nothing(own_run: fo.Dataset, own_scheme: bool) -> None:
    segad.delete_run(own_run, "segad")
    if own_scheme:
        mine = [{"path": "mine", "fieldColor": "#00ff00"}]
        own_run.app_config.color_scheme = fo.ColorScheme(fields=mine, opacity=0.4)
        own_run.app_config.sidebar_groups = fo.DatasetAppConfig.default_sidebar_groups(own_run)
        own_run.mask_targets = {"defect_mask": {1: "dent"}}
        own_run.save()
    before = snapshot(own_run)
    compute(own_run)
    segad.evaluate_anomalies(own_run, eval_key="checked")
    segad.evaluate_anomalies(own_run.skip(5), eval_key="again")
    segad.delete_run(own_run, "segad")
    assert snapshot(own_run) == before
    assert not dataset_folder(own_run).exists()


def test_an_evaluation_alone_is_removed_without_a_trace(dataset: fo.Dataset) -> None:
    before = snapshot(dataset)
    segad.evaluate_anomalies(dataset, eval_key="checked")
    assert snapshot(dataset) != before
    segad.delete_evaluation(dataset, "checked")
    assert snapshot(dataset) == before
    with pytest.raises(ValueError, match="no evaluation 'checked' of this package; its evaluations are"):
        segad.delete_evaluation(dataset, "checked")


def test_other_evaluations_and_fields_stay(own_run: fo.Dataset) -> None:
    compute(own_run, key="other")
    segad.evaluate_anomalies(own_run, key="segad", eval_key="checked")
    segad.evaluate_anomalies(own_run, key="other", eval_key="kept")
    own_run.set_values("mine", [fo.Classification(label="normal")] * 8)
    own_run.evaluate_classifications("segad_pred", gt_field="mine", eval_key="theirs")
    # Another package's run that looks like ours
    own_run.register_run("theirs_too", own_run.init_run(evaluated="segad"))
    assert keys.list_evaluations(own_run) == ["checked", "kept"]
    segad.delete_run(own_run, "segad")
    own_run.reload()
    assert sorted(own_run.list_evaluations()) == ["kept", "theirs"]
    assert sorted(own_run.list_runs()) == ["kept", "other", "theirs_too"]
    left = set(own_run.get_field_schema())
    assert not left & FIELDS
    assert left >= {"kept", *(f"kept_{name}" for name in EVALUATION_FIELDS), "mine", "theirs", "defect_mask"}
    assert own_run.values("kept") == OUTCOMES
    assert all(Path(sample.kept_errors.mask_path).is_file() for sample in own_run)
    assert set(own_run.mask_targets) == {"other_mask", "kept_errors"}
    paths = {entry["path"] for entry in own_run.app_config.color_scheme.fields}
    assert paths == {"other_pred", "other_segments", "other_regions", "other_mask", "kept_regions", "kept_errors"}
    assert own_run.load_evaluation_results("kept").custom_metrics


def test_an_evaluation_outlives_the_replacement_of_its_run(own_run: fo.Dataset) -> None:
    segad.evaluate_anomalies(own_run, eval_key="checked")
    compute(own_run, overwrite=True, segments="grid:4")
    assert own_run.values("checked") == OUTCOMES
    assert pixels(own_run.skip(MIXED).first().checked_errors).any()
    segad.delete_run(own_run, "segad")
    assert not FIELDS & set(own_run.get_field_schema())
    assert not dataset_folder(own_run).exists()


def test_a_clone_does_not_delete_the_files_of_its_source(dataset: fo.Dataset) -> None:
    segad.evaluate_anomalies(dataset, eval_key="checked")
    clone = dataset.clone()
    removal.remove_evaluation(clone, "checked")
    assert not clone.has_sample_field("checked_errors")
    clone.delete()
    assert all(Path(sample.checked_errors.mask_path).is_file() for sample in dataset)


def test_an_evaluation_that_is_not_kept_writes_nothing(dataset: fo.Dataset) -> None:
    before = snapshot(dataset)
    segad.evaluate_anomalies(dataset)
    assert snapshot(dataset) == before


def test_what_we_wrote_is_not_offered_as_ground_truth(dataset: fo.Dataset) -> None:
    from fiftyone_segad.plugin.forms import truth_choices

    segad.evaluate_anomalies(dataset, eval_key="checked")
    dataset.set_values("boxes", [fo.Detections()] * 8)
    assert truth_choices(dataset) == ["defect_mask", "boxes"]
