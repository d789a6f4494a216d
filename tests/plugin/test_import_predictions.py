"""The form of import_predictions: how many images have a map is said before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from layout_folders import picture
from plugin_calls import REFUSED, form, plugin_module, run


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    made = dataset_of([picture(tmp_path / f"images/{index}.png") for index in range(6)])
    made.limit(4).tag_samples("good")
    return made


@pytest.fixture
def maps(dataset: fo.Dataset, tmp_path: Path) -> Path:
    folder = tmp_path / "maps"
    folder.mkdir()
    for index in range(6):
        np.save(folder / f"{index}.npy", np.full((4, 6), index, np.float32))
    return folder


def test_the_form_says_how_many_images_have_a_map(dataset: fo.Dataset, maps: Path) -> None:
    (maps / "5.npy").rename(maps / "other.npy")
    shown = form("import_predictions", dataset, maps_dir=str(maps))
    assert shown["found"]["view"]["label"] == "6 maps; 5 of the 6 images have one, by their names"
    assert not any(field["invalid"] for field in shown.values())
    picked = form("import_predictions", dataset, maps_dir_picked={"absolute_path": str(maps)})
    assert picked["found"] == shown["found"]
    assert "normals" not in shown and "normals" in form("import_predictions", dataset, calibrated=True)


@pytest.mark.parametrize(
    ("params", "field", "said"),
    [
        ({"maps_dir": "maps"}, "maps_dir", "give the full path"),
        ({"maps_dir": "/absent"}, "maps_dir", "There is no folder"),
        ({"scores_file": "scores.csv"}, "scores_file", "give the full path"),
        ({"threshold": "high"}, "threshold", "not a threshold"),
        ({"key": "two words"}, "key", "letters, digits and underscores"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(dataset: fo.Dataset, params: dict[str, str], field: str, said: str) -> None:
    shown = form("import_predictions", dataset, **params)
    assert shown[field]["invalid"] and said in shown[field]["error_message"]


def test_maps_of_other_images(dataset: fo.Dataset, tmp_path: Path) -> None:
    np.save(tmp_path / "stranger.npy", np.ones((4, 4)))
    (tmp_path / "maps").mkdir(exist_ok=True)
    (tmp_path / "stranger.npy").rename(tmp_path / "maps/stranger.npy")
    shown = form("import_predictions", dataset, maps_dir=str(tmp_path / "maps"))
    assert "None of the images has a map of its name; the first map is 'stranger'" in shown["maps_dir"]["error_message"]


def test_a_form_does_not_go_through_a_whole_disk(
    dataset: fo.Dataset, maps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin_module("plugin.operators.import_predictions"), "_COUNTED", 3)
    shown = form("import_predictions", dataset, maps_dir=str(maps))
    assert shown["found"]["view"]["label"] == "More than 3 files, which are matched when it starts"


def test_a_run_is_made(dataset: fo.Dataset, maps: Path, tmp_path: Path) -> None:
    result = run("import_predictions", dataset, maps_dir=str(maps), model="PatchCore", threshold="alarms:2")
    assert (result["key"], result["scored"], result["flagged"]) == ("imported", 6, 2)
    assert segad.load_run(dataset, "imported").embedder == "PatchCore"
    assert form("import_predictions", dataset)["key"]["default"] == "imported_2"
    table = tmp_path / "scores.csv"
    table.write_text("\n".join(["image,score", *(f"{index}.png,{index / 10}" for index in range(6))]))
    params = {"calibrated": True, "normals": "tag", "normals_value": "good", "scores_file": str(table), "key": "other"}
    run("import_predictions", dataset, maps_dir=str(maps), **params)
    assert segad.load_run(dataset, "other").normals == 4
    assert dataset.values("other_score") == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    with pytest.raises(REFUSED, match="exists"):
        run("import_predictions", dataset, maps_dir=str(maps), key="other")
    with pytest.raises(REFUSED, match="maps_dir"):
        run("import_predictions", dataset)
