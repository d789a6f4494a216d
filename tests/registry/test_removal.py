"""A run goes without a trace, and nothing else with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from fiftyone_segad.registry.folders import dataset_folder
from small_runs import compute, make_dataset, snapshot

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    return make_dataset(dataset_of, pictures)


def test_delete_run_leaves_nothing(dataset: fo.Dataset) -> None:
    before = snapshot(dataset)
    run = compute(dataset)
    assert segad.list_runs(dataset) == ["segad"]
    segad.delete_run(dataset, "segad")
    dataset.reload()
    assert snapshot(dataset) == before
    assert not Path(run.folder).exists()
    assert not dataset_folder(dataset).exists()
    with pytest.raises(ValueError, match="no run 'segad'"):
        segad.delete_run(dataset, "segad")


def test_delete_run_keeps_the_colours_of_others(dataset: fo.Dataset) -> None:
    mine = [{"path": "mine", "fieldColor": "#00ff00"}]
    dataset.app_config.color_scheme = fo.ColorScheme(fields=mine, opacity=0.4)
    dataset.save()
    compute(dataset)
    segad.delete_run(dataset, "segad")
    dataset.reload()
    assert dataset.app_config.color_scheme.fields == mine
    assert dataset.app_config.color_scheme.opacity == 0.4


def test_a_run_whose_folder_is_gone(dataset: fo.Dataset) -> None:
    run = compute(dataset)
    shutil.rmtree(run.folder)
    with pytest.raises(segad.RunError, match="folder of run 'segad' is gone"):
        segad.load_run(dataset, "segad")
    segad.delete_run(dataset, "segad")
    assert segad.list_runs(dataset) == []


def test_a_clone_does_not_delete_the_files_of_its_source(dataset: fo.Dataset) -> None:
    run = compute(dataset)
    clone = dataset.clone()
    segad.delete_run(clone, "segad")
    clone.delete()
    assert Path(run.folder).is_dir()
    assert os.path.exists(dataset.last().segad_map.map_path)


def test_a_renamed_run_goes_by_its_record(dataset: fo.Dataset) -> None:
    before = snapshot(dataset)
    run = compute(dataset, key="old")
    segad.mark_normal(dataset.skip(4), "old")
    dataset.rename_run("old", "new")
    remedy = r"rename_run\('new', 'old'\), or remove it with segad.delete_run\(dataset, 'new'\)"
    with pytest.raises(segad.RunError, match=remedy):
        segad.load_run(dataset, "new")
    with pytest.raises(ValueError, match=remedy):
        segad.load_run(dataset, "old")
    segad.delete_run(dataset, "new")
    dataset.reload()
    assert snapshot(dataset) == before
    assert not Path(run.folder).exists()
    for key in ("old", "new"):
        compute(dataset, key=key)


def test_a_renamed_run_that_gets_its_name_back(dataset: fo.Dataset) -> None:
    run = compute(dataset, key="old")
    dataset.set_values("dents", [fo.Detections()] * 6)
    segad.evaluate_anomalies(dataset, "old", "dents", eval_key="judged")
    dataset.rename_run("old", "new")
    for key in ("old", "new"):
        with pytest.raises((ValueError, segad.RunError), match="was renamed: its record is 'new' now"):
            segad.evaluate_anomalies(dataset, key, "dents")
    dataset.rename_run("new", "old")
    assert segad.load_run(dataset, "old") == run
    assert segad.evaluate_anomalies(dataset, "old", "dents", eval_key="judged", overwrite=True).images
    dataset.rename_run("old", "new")
    segad.delete_run(dataset, "new")
    assert dataset.list_runs() == dataset.list_evaluations() == []
    assert not [name for name in dataset.get_field_schema() if name.startswith(("old", "judged"))]


def test_runs_that_are_renamed_in_turn(dataset: fo.Dataset) -> None:
    compute(dataset, key="a")
    compute(dataset, key="b")
    dataset.rename_run("a", "c")
    dataset.rename_run("b", "a")
    segad.delete_run(dataset, "a")
    assert dataset.has_sample_field("a_score") and not dataset.has_sample_field("b_score")
    segad.delete_run(dataset, "c")
    assert not dataset.has_sample_field("a_score")


def test_fields_without_a_run(dataset: fo.Dataset) -> None:
    before = snapshot(dataset)
    run = compute(dataset)
    dataset.delete_run("segad")
    segad.delete_run(dataset, "segad")
    dataset.reload()
    after = snapshot(dataset)
    assert after["schema"] == before["schema"] and not Path(run.folder).exists()
    compute(dataset)


def test_fields_of_others_stay_where_there_is_no_run(dataset: fo.Dataset) -> None:
    dataset.add_sample_field("mine_score", fo.FloatField)
    with pytest.raises(ValueError, match="no run 'mine'"):
        segad.delete_run(dataset, "mine")
    assert dataset.has_sample_field("mine_score")


def test_a_run_whose_folder_is_gone_is_replaced(dataset: fo.Dataset) -> None:
    run = compute(dataset)
    before = dataset.values("segad_score")
    shutil.rmtree(run.folder)
    again = compute(dataset, overwrite=True)
    assert dataset.values("segad_score") == before and again.folder != run.folder
    assert segad.set_threshold(dataset, "segad", 0.5).thresholds.image == 0.5
    segad.delete_run(dataset, "segad")
    assert not dataset_folder(dataset).exists()
