"""Nothing is written or removed outside a run's folder, whatever keys, names, links and stored values say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.errors import RunError
from fiftyone_segad.registry.folders import dataset_folder
from fiftyone_segad.registry.keys import PLUGIN as MARK
from fiftyone_segad.registry.run import RECORD_FORMAT

HOSTILE = ["../up", "/tmp/absolute", "a\\b", "..", "a\0b", "ä", "", "a\n"]


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], colour_embedder: object) -> fo.Dataset:
    mask = Image.new("L", (96, 80))
    mask.paste(255, (40, 30, 56, 46))
    mask.save(pictures[0].with_name("truth.png"))
    truth = [fo.Segmentation(mask_path=str(pictures[0].with_name("truth.png")))]
    return dataset_of(pictures, defect_mask=[None] * 5 + truth)


@pytest.fixture
def scored(dataset: fo.Dataset) -> fo.Dataset:
    compute(dataset)
    return dataset


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that holds something of someone else."""
    folder = tmp_path / "outside"
    (folder / "masks-00000000").mkdir(parents=True)
    (folder / "settings.json").write_text("{}")
    (folder / "masks-00000000" / "precious.txt").write_text("mine")
    return folder


def compute(dataset: fo.Dataset, **options: Any) -> segad.Run:
    return segad.compute_segment_anomalies(
        dataset, reference=dataset.limit(4), embedder="efficientnet", threshold="quantile:0.5", **options
    )


def content(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def store(dataset: fo.Dataset, key: str, **changed: Any) -> None:
    """Changes what the database holds of a run."""
    record = asdict(segad.load_run(dataset, key)) | changed
    dataset.update_run_config(key, dataset.init_run(plugin=MARK, format=RECORD_FORMAT, run=record))


@pytest.mark.parametrize("key", HOSTILE)
def test_keys_name_no_folders(scored: fo.Dataset, key: str) -> None:
    before = content(dataset_folder(scored).parent)
    with pytest.raises(ValueError, match="key="):
        compute(scored, key=key)
    with pytest.raises(ValueError, match="eval_key="):
        segad.evaluate_anomalies(scored, eval_key=key)
    for call in (segad.load_run, segad.rescore, segad.delete_run):
        with pytest.raises(ValueError):
            call(scored, key)
    with pytest.raises(ValueError):
        segad.set_threshold(scored, key, 1.0)
    assert content(dataset_folder(scored).parent) == before


def test_names_of_datasets_name_no_folders(
    dataset: fo.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIFTYONE_SEGAD_DIR", str(tmp_path / "files"))
    first, dataset.name = dataset.name, "../../up and /away"
    try:
        run = compute(dataset)
    finally:
        dataset.name = first  # by which the fixture deletes it
    assert (tmp_path / "files" / str(dataset._doc.id) / "segad") in Path(run.folder).parents
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"files"}


@pytest.mark.parametrize("level", ["dataset", "key"])
def test_links_are_not_followed(dataset: fo.Dataset, outside: Path, level: str) -> None:
    before = content(outside)
    link = dataset_folder(dataset) / ("segad" if level == "key" else "")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside, target_is_directory=True)
    try:
        with pytest.raises(RunError, match="is a symbolic link"):
            compute(dataset)
    finally:
        link.unlink()
    assert content(outside) == before


def test_links_in_a_run(scored: fo.Dataset, outside: Path) -> None:
    run = segad.load_run(scored, "segad")
    (Path(run.folder) / "more").symlink_to(outside)
    with pytest.raises(RunError, match="more' is a symbolic link"):
        segad.set_threshold(scored, "segad", 1.0)
    before = content(outside)
    segad.delete_run(scored, "segad")
    assert content(outside) == before and not Path(run.folder).exists()


def test_a_run_that_is_a_link(scored: fo.Dataset, outside: Path) -> None:
    folder = Path(segad.load_run(scored, "segad").folder)
    folder.rename(folder.with_name("moved"))
    folder.symlink_to(outside)
    before = content(outside)
    with pytest.raises(RunError, match="is a symbolic link"):
        segad.load_run(scored, "segad")
    segad.delete_run(scored, "segad")
    assert content(outside) == before


@pytest.mark.parametrize(
    "changed",
    [
        {"masks": ".."},
        {"masks": "/etc"},
        {"masks": "masks-00000000/.."},
        {"folder": "relative"},
        {"folder": "OUTSIDE"},
        {"folder": "OUTSIDE/segad/.."},
        {"method": 7},
        {"thresholds": {"rule": "f1", "image": "x", "pixel": None}},
        {"map_range": [0, float("inf")]},
        {"scored": None},
        {"settings": {}},
    ],
)
def test_what_the_database_holds_is_checked(scored: fo.Dataset, outside: Path, changed: dict[str, Any]) -> None:
    folder = segad.load_run(scored, "segad").folder
    before, run_before = content(outside), content(Path(folder))
    if "OUTSIDE" in str(changed):
        changed = {"folder": changed["folder"].replace("OUTSIDE", str(outside))}
    store(scored, "segad", **changed)
    for call in (
        lambda: segad.load_run(scored, "segad"),
        lambda: segad.set_threshold(scored, "segad", 1.0),
        lambda: segad.evaluate_anomalies(scored),
    ):
        with pytest.raises(RunError, match="run 'segad' is damaged"):
            call()
    assert content(outside) == before and content(Path(folder)) == run_before


def test_folders_that_are_to_go_are_the_runs_own(scored: fo.Dataset, outside: Path) -> None:
    run = segad.load_run(scored, "segad")
    up = f"{Path(run.folder).parent}/../../{'../' * 8}{outside}"
    store(scored, "segad", pending=["pred"], obsolete=[str(outside), up, f"{run.folder}/../../.."])
    before = content(outside)
    segad.load_run(scored, "segad")
    assert content(outside) == before and Path(run.folder).is_dir()


def test_error_maps_that_are_to_go_are_the_evaluations_own(scored: fo.Dataset) -> None:
    segad.evaluate_anomalies(scored, eval_key="judged")
    folder = segad.load_run(scored, "segad").folder
    config = scored.get_run_info("judged").config
    config.errors = ".."
    scored.update_run_config("judged", config)
    segad.delete_run(scored, "segad")
    assert not Path(folder).exists() and dataset_folder(scored).is_dir()


@pytest.mark.parametrize("name", ["../up", "/tmp/away", "a/b", ".."])
def test_names_in_exports(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path, name: str
) -> None:
    """Defect types and categories are folders' names in an export, and sample's names are files'."""
    dataset = dataset_of(
        pictures, defect=[fo.Classification(label=name)] * 6, category=[fo.Classification(label=name)] * 6
    )
    before = content(tmp_path)
    segad.export_curated(dataset, tmp_path / "exported" / "here")
    made = set(content(tmp_path)) - set(before)
    assert len(made) == 7 and all(path.startswith(str(tmp_path / "exported" / "here") + "/") for path in made)
