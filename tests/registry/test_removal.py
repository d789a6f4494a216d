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
