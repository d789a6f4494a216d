"""A run that is exported and imported goes on elsewhere as it would have here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from conftest import ColourEmbedder
from fiftyone_segad.registry.folders import dataset_folder
from fiftyone_segad.registry.keys import FIELD_NAMES
from small_runs import compute, make_dataset, snapshot

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    return make_dataset(dataset_of, pictures)


@pytest.fixture
def elsewhere(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path) -> fo.Dataset:
    """The same images on another machine: other paths and ids, and in another order."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    paths = [folder / f"image-{picture.name}" for picture in reversed(pictures)]
    for path, picture in zip(paths, reversed(pictures), strict=True):
        shutil.copyfile(picture, path)
    return dataset_of(paths)


@pytest.fixture(params=["folder", "packed.zip"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def values(dataset: fo.Dataset, key: str) -> dict[str, dict[str, Any]]:
    """What the fields of a run hold, by the number in the name of the image."""
    by_image: dict[str, dict[str, Any]] = {}
    for sample in dataset.exists(f"{key}_score"):
        fields: dict[str, Any] = {name: sample[f"{key}_{name}"] for name in FIELD_NAMES}
        for name in ("map", "mask"):
            with Image.open(fields[name][f"{name}_path"]) as image:
                fields[name] = np.asarray(image).tolist()
        pred = fields["pred"]
        fields["pred"] = pred.label, pred.confidence, pred.p_value
        for name in ("segments", "regions"):
            fields[name] = [(one.label, one.bounding_box, one.anomaly_score) for one in fields[name].detections]
        by_image[sample.filepath[-5:]] = fields
    return by_image


def forget_here(dataset: fo.Dataset, pictures: list[Path]) -> None:
    """Take away what the other machine does not have."""
    shutil.rmtree(dataset_folder(dataset))
    for picture in pictures:
        picture.unlink()


def test_an_imported_run_has_the_fields_of_the_exported_one(
    dataset: fo.Dataset, elsewhere: fo.Dataset, target: Path, pictures: list[Path]
) -> None:
    run = compute(dataset)
    expected = values(dataset, "segad")
    assert segad.export_run(dataset, "segad", target) == target
    forget_here(dataset, pictures)
    before, calls = snapshot(elsewhere), ColourEmbedder.calls
    taken = segad.import_run(elsewhere, target)
    assert ColourEmbedder.calls == calls
    assert values(elsewhere, "segad") == expected and set(expected) == {"4.png", "5.png"}
    assert (taken.thresholds, taken.map_range, taken.scored) == (run.thresholds, run.map_range, 2)
    assert segad.load_run(elsewhere, "segad") == taken and taken.warnings == run.warnings
    assert Path(taken.folder).is_relative_to(dataset_folder(elsewhere)) and Path(taken.folder).is_dir()
    segad.delete_run(elsewhere, "segad")
    elsewhere.reload()
    assert snapshot(elsewhere) == before and not dataset_folder(elsewhere).exists()


def test_an_imported_run_goes_on(
    dataset: fo.Dataset, elsewhere: fo.Dataset, target: Path, pictures: list[Path]
) -> None:
    """Normal images are not compared with themselves, though their paths are others, and marks are learnt as here."""
    compute(dataset)
    segad.export_run(dataset, "segad", target)
    segad.set_threshold(dataset, "segad", 0.2)
    segad.score_new(dataset, "segad")
    segad.mark_normal(dataset.skip(5), "segad", why="dust")
    learnt = segad.rescore(dataset, "segad").run
    expected = values(dataset, "segad")
    forget_here(dataset, pictures)
    segad.import_run(elsewhere, target)
    segad.set_threshold(elsewhere, "segad", 0.2)
    later = segad.score_new(elsewhere, "segad")
    assert later.scored == 6 and not any("same file" in text for text in later.warnings)
    segad.mark_normal(elsewhere.limit(1), "segad")
    assert segad.rescore(elsewhere, "segad").run.thresholds == learnt.thresholds
    assert values(elsewhere, "segad") == expected
    (segment,) = segad.explain_sample(elsewhere, "segad", elsewhere.values("id")[5], max_segments=1, max_neighbours=9)
    assert {Path(near.filepath).name for near in segment.neighbours} == {f"image-{i}.png" for i in (1, 2, 3, 5)}, (
        "5 is marked"
    )
    segad.save_bank(elsewhere, "segad", target.with_name("bank.safetensors"))


def test_marks_go_with_the_run(dataset: fo.Dataset, elsewhere: fo.Dataset, target: Path, pictures: list[Path]) -> None:
    compute(dataset)
    segad.mark_normal(dataset.skip(5), "segad", why="dust", by="ada")
    segad.rescore(dataset, "segad")
    expected = values(dataset, "segad")
    segad.mark_anomalous(dataset.limit(1), "segad")  # this image is not elsewhere
    segad.export_run(dataset, "segad", target)
    forget_here(dataset, pictures)
    segad.import_run(elsewhere, target)
    (mark,) = segad.list_marks(elsewhere, "segad")
    assert (mark.label, mark.why, mark.by, mark.sample_id) == ("normal", "dust", "ada", elsewhere.first().id)
    assert segad.rescore(elsewhere, "segad").marked == 1
    assert values(elsewhere, "segad") == expected


def test_what_is_not_here_is_named(dataset: fo.Dataset, elsewhere: fo.Dataset, target: Path) -> None:
    compute(dataset)
    defect = dataset.last().filepath
    segad.export_run(dataset, "segad", target)
    elsewhere.delete_samples(elsewhere.limit(1))
    run = segad.import_run(elsewhere, target, key="other")
    assert run.key == "other" and run.scored == 1
    assert f"1 of the 2 images of the run are not in the dataset: {defect}" in run.warnings
    assert [path[-5:] for path in elsewhere.exists("other_score").values("filepath")] == ["4.png"]
    elsewhere.delete_samples(elsewhere.exists("other_score"))
    before = snapshot(elsewhere)
    with pytest.raises(ValueError, match="None of the 2 images of run 'segad' is in dataset"):
        segad.import_run(elsewhere, target)
    assert snapshot(elsewhere) == before
    assert segad.list_runs(elsewhere) == ["other"]


def test_a_run_that_came_with_its_dataset_gets_its_folder_back(
    dataset: fo.Dataset, target: Path, tmp_path: Path
) -> None:
    """As with FiftyOneDataset: the record and the fields are there, the folder is not."""
    run = compute(dataset)
    expected = values(dataset, "segad")
    segad.export_run(dataset, "segad", target)
    dataset.export(export_dir=str(tmp_path / "export"), dataset_type=fo.types.FiftyOneDataset)
    shutil.rmtree(dataset_folder(dataset))
    carried = fo.Dataset.from_dir(str(tmp_path / "export"), fo.types.FiftyOneDataset)
    try:
        with pytest.raises(ValueError, match="'segad' exists on dataset"):
            segad.import_run(carried, target)
        taken = segad.import_run(carried, target, overwrite=True)
        assert Path(taken.folder).is_relative_to(dataset_folder(carried))
        assert values(carried, "segad") == expected
        assert segad.set_threshold(carried, "segad", 0.3).scored == run.scored
        segad.delete_run(carried, "segad")
        assert segad.list_runs(carried) == [] and not dataset_folder(carried).exists()
    finally:
        carried.delete()


def test_a_run_from_a_windows_machine_is_none_that_is_damaged(dataset: fo.Dataset) -> None:
    compute(dataset)
    info = dataset.get_run_info("segad")
    info.config.run = {**info.config.run, "folder": "C:\\Users\\ada\\fiftyone\\segad\\65\\segad\\0123456789ab"}
    dataset.update_run_config("segad", info.config)
    with pytest.raises(segad.RunError, match=r"The folder of run 'segad' is gone \('C:"):
        segad.load_run(dataset, "segad")
    segad.delete_run(dataset, "segad")
    assert segad.list_runs(dataset) == []


def test_an_import_that_fails_leaves_nothing(
    dataset: fo.Dataset, elsewhere: fo.Dataset, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fiftyone_segad.registry import fields as fields_module

    compute(dataset)
    segad.export_run(dataset, "segad", target)
    before = snapshot(elsewhere)
    with monkeypatch.context() as patch:
        patch.setattr(fields_module, "_write", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            segad.import_run(elsewhere, target)
    elsewhere.reload()
    assert snapshot(elsewhere) == before and not dataset_folder(elsewhere).exists()
    segad.import_run(elsewhere, target)


def test_what_is_there_is_replaced_only_if_it_is_an_exported_run(dataset: fo.Dataset, tmp_path: Path) -> None:
    compute(dataset)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("mine")
    for overwrite, message in ((False, "exists; pass overwrite=True"), (True, "is no exported run; name another")):
        with pytest.raises(ValueError, match=message):
            segad.export_run(dataset, "segad", tmp_path / "photos", overwrite)
    assert (tmp_path / "photos" / "a.txt").read_text() == "mine"
    for name in ("run", "run.zip"):
        segad.export_run(dataset, "segad", tmp_path / name)
        segad.export_run(dataset, "segad", tmp_path / name, overwrite=True)
    with pytest.raises(FileNotFoundError):
        segad.import_run(dataset, tmp_path / "absent.zip")
