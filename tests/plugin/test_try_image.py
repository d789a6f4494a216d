"""One picture and a slider: the operator that tries the original method."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from conftest import needs_fastdup, shared
from fiftyone_segad.plugin.trial import DATASET
from fiftyone_segad.registry.folders import dataset_folder
from plugin_calls import REFUSED, form, run

pytestmark = needs_fastdup


@pytest.fixture(autouse=True)
def no_trials() -> Iterator[None]:
    yield
    if fo.dataset_exists(DATASET):
        fo.delete_dataset(DATASET)


@pytest.fixture
def dataset(dataset_of: Any, pictures: list[Path]) -> Any:
    return dataset_of(pictures)


def upload(path: Path) -> dict[str, str]:
    return {"name": path.name, "content": base64.b64encode(path.read_bytes()).decode()}


def test_an_uploaded_picture_becomes_a_sample_with_its_outliers(dataset: fo.Dataset, pictures: list[Path]) -> None:
    result = run("try_image", dataset, picture=upload(pictures[5]), grid=4)
    expected = segad.find_outlier_segments(pictures[5], "grid:4", "fastdup")
    sample = fo.load_dataset(DATASET)[result["sample_id"]]
    assert (result["segments"], result["outliers"]) == (16, len(expected.outliers.indices))
    assert [d.index for d in sample.outliers.detections] == expected.outliers.indices.tolist()
    assert sample.grid == 4
    assert np.array_equal(np.asarray(Image.open(sample.filepath)), np.asarray(Image.open(pictures[5])))
    first = sample.outliers.detections[0]
    boxes = expected.segments.boxes[first.index] / [96, 80, 96, 80]
    assert first.bounding_box == pytest.approx([*boxes[:2], *(boxes[2:] - boxes[:2])])
    assert sample.nearest.detections, "what they are most like is shown beside them"
    assert not {d.index for d in sample.nearest.detections} & {d.index for d in sample.outliers.detections}


def test_the_selected_sample_is_tried_without_being_changed(dataset: fo.Dataset) -> None:
    before = dataset.first().to_dict()
    result = run("try_image", dataset, {"selected": [dataset.first().id]}, grid=3)
    dataset.reload()
    assert dataset.first().to_dict() == before
    assert fo.load_dataset(DATASET)[result["sample_id"]].filepath == dataset.first().filepath
    again = run("try_image", dataset, {"selected": [dataset.first().id]}, grid=5)
    assert again["sample_id"] == result["sample_id"], "a second trial takes the place of the first"
    assert len(fo.load_dataset(DATASET)) == 1


def test_another_grid_needs_no_other_upload(dataset: fo.Dataset, pictures: list[Path]) -> None:
    run("try_image", dataset, picture=upload(pictures[0]), grid=3)
    last = run("try_image", dataset, picture=upload(pictures[5]), grid=3)
    trials = fo.load_dataset(DATASET)
    fields = form("try_image", trials)
    assert fields["source"]["default"] == "sample"
    assert "tried last" in str(fields["source"])
    again = run("try_image", trials, grid=5)
    assert (again["sample_id"], again["segments"]) == (last["sample_id"], 25)
    assert len(trials) == 2


@pytest.mark.parametrize("grid", [4, 7])
def test_the_outliers_are_those_of_the_original(dataset: fo.Dataset, grid: int) -> None:
    folder = shared("blog")
    expected = json.loads((folder / "expected.json").read_text())["outliers"]["007"][str(grid)]
    result = run("try_image", dataset, picture=upload(folder / "007.png"), grid=grid)
    detections = fo.load_dataset(DATASET)[result["sample_id"]].outliers.detections
    assert [d.index for d in detections] == [index for index, _ in expected]
    assert [d.similarity for d in detections] == pytest.approx([distance for _, distance in expected], abs=1e-4)


def test_a_run_judges_an_uploaded_picture_as_its_own(dataset_with_run: fo.Dataset, pictures: list[Path]) -> None:
    before = [sample.to_dict() for sample in dataset_with_run]
    result = run("try_image", dataset_with_run, picture=upload(pictures[5]), compare="run", key="segad")
    (regions,) = dataset_with_run.match({"filepath": str(pictures[5])}).values("segad_regions")
    assert result["score"] == pytest.approx(dataset_with_run.last().segad_score, abs=1e-6)
    assert result["regions"] == len(regions.detections) and result["decision"].startswith("anomalous: its score ")
    assert "of 4 good images" in result["rarity"] and "segments" not in result
    trials = fo.load_dataset(DATASET)
    sample = trials[result["sample_id"]]
    assert sample.segad_pred.label == "anomalous" and sample.segad_map.map_path
    assert segad.load_run(trials, "segad").thresholds == segad.load_run(dataset_with_run, "segad").thresholds
    assert "segad_map" in trials.app_config.active_fields.paths
    dataset_with_run.reload()
    assert [sample.to_dict() for sample in dataset_with_run] == before and segad.list_runs(dataset_with_run) == [
        "segad"
    ]


def test_a_further_picture_and_another_grid_need_no_other_dataset(
    dataset_with_run: fo.Dataset, pictures: list[Path]
) -> None:
    run("try_image", dataset_with_run, picture=upload(pictures[5]), compare="run")
    trials = fo.load_dataset(DATASET)
    good = run("try_image", trials, picture=upload(pictures[0]), compare="run", key="segad")
    assert good["decision"].startswith("normal: ") and good["regions"] == 0
    again = run("try_image", trials, grid=3)
    assert again["sample_id"] == good["sample_id"] and again["segments"] == 9
    assert trials.app_config.active_fields.paths == ["outliers", "nearest"]


def test_a_run_that_has_changed_judges_as_it_is_now(dataset_with_run: fo.Dataset, pictures: list[Path]) -> None:
    run("try_image", dataset_with_run, picture=upload(pictures[5]), compare="run")
    segad.set_threshold(dataset_with_run, "segad", dataset_with_run.last().segad_score + 1)
    result = run("try_image", dataset_with_run, picture=upload(pictures[5]), compare="run")
    assert result["decision"].startswith("normal: ")
    banks = list((dataset_folder(fo.load_dataset(DATASET)) / "banks").iterdir())
    assert len(banks) == 1, "that of the run as it was is gone"


def test_only_runs_with_normal_images_are_offered(dataset_with_run: fo.Dataset, pictures: list[Path]) -> None:
    segad.compute_segment_anomalies(dataset_with_run, method="within_image", key="within")
    assert "key" not in form("try_image", dataset_with_run) and "grid" in form("try_image", dataset_with_run)
    fields = form("try_image", dataset_with_run, compare="run")
    assert fields["key"]["type"]["values"] == ["segad"] and "grid" not in fields
    with pytest.raises(REFUSED, match="Invalid enum value"):
        run("try_image", dataset_with_run, picture=upload(pictures[0]), compare="run", key="within")
    segad.delete_run(dataset_with_run, "segad")
    assert "compare" not in form("try_image", dataset_with_run)
    with pytest.raises(REFUSED, match="compare='run' must be one of"):
        run("try_image", dataset_with_run, picture=upload(pictures[0]), compare="run")


def test_the_files_of_former_trials_go(dataset_with_run: fo.Dataset, pictures: list[Path]) -> None:
    run("try_image", dataset_with_run, picture=upload(pictures[5]), compare="run")
    folder = dataset_folder(fo.load_dataset(DATASET))
    assert (folder / "uploads").is_dir() and (folder / "segad").is_dir()
    fo.delete_dataset(DATASET)
    run("try_image", dataset_with_run, picture=upload(pictures[5]), grid=3)
    assert not folder.exists()


def test_one_segment_has_nothing_to_be_compared_with(dataset: fo.Dataset, pictures: list[Path]) -> None:
    result = run("try_image", dataset, picture=upload(pictures[0]), grid=1)
    assert result["outliers"] == 0
    assert "grid of 2 or more" in result["advice"]


def test_the_form(dataset: fo.Dataset, pictures: list[Path]) -> None:
    empty = form("try_image", dataset)
    assert "source" not in empty, "nothing is selected"
    assert (empty["grid"]["type"]["min"], empty["grid"]["type"]["max"], empty["grid"]["default"]) == (1, 10, 7)
    assert "source" in form("try_image", dataset, (dataset.first().id,))
    good = form("try_image", dataset, picture=upload(pictures[0]))
    assert good["size"]["view"]["label"] == "96 x 80 px"


def test_a_dataset_of_that_name_is_left_alone(dataset: fo.Dataset, pictures: list[Path]) -> None:
    other = fo.Dataset(DATASET)
    with pytest.raises(REFUSED, match="exists that is not one of trials"):
        run("try_image", dataset, picture=upload(pictures[0]))
    assert len(other) == 0
