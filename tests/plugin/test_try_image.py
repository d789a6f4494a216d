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
