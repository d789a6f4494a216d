"""A write that was cancelled or killed leaves no folder behind, and nobody's folder is removed for another's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from fiftyone_segad.registry import uncommitted
from fiftyone_segad.registry.folders import dataset_folder, runs_folder
from fiftyone_segad.utils.files import write_json

Verb = Callable[..., Any]


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], colour_embedder: object) -> fo.Dataset:
    return dataset_of(pictures)


def compute(dataset: fo.Dataset, **options: Any) -> segad.Run:
    return segad.compute_segment_anomalies(
        dataset, reference=dataset.limit(4), embedder="efficientnet", threshold="quantile:0.5", **options
    )


def computed(dataset: fo.Dataset) -> Verb:
    return lambda **options: compute(dataset, **options)


def computed_again(dataset: fo.Dataset) -> Verb:
    compute(dataset)
    return lambda **options: compute(dataset, segments="grid:3", overwrite=True, **options)


def threshold_set(dataset: fo.Dataset) -> Verb:
    compute(dataset)
    return lambda **options: segad.set_threshold(dataset, "segad", 0.5, **options)


def rescored(dataset: fo.Dataset) -> Verb:
    compute(dataset)
    segad.mark_normal(dataset.skip(5), "segad")
    return lambda **options: segad.rescore(dataset, "segad", **options)


def scored_with_a_bank(dataset: fo.Dataset) -> Verb:
    compute(dataset, key="other")
    file = segad.save_bank(dataset, "other", Path(dataset.first().filepath).with_name("bank"))
    return lambda **options: segad.score_new(dataset, "segad", bank=file, **options)


VERBS = pytest.mark.parametrize("prepare", [computed, computed_again, threshold_set, rescored, scored_with_a_bank])


def cancel_at_the_end(bar: Any) -> None:
    """Cancel when all fields are written, and none is committed."""
    if bar.iteration >= bar.total:
        raise segad.RunCancelled("enough")


def cancel(verb: Verb) -> None:
    with pytest.raises(segad.RunCancelled):
        verb(progress=cancel_at_the_end)


def kill(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what a process leaves that ends where ``cancel`` would: nobody removes the files."""
    with monkeypatch.context() as patch:
        patch.setattr(uncommitted, "remove_uncommitted", lambda *arguments: None)
        cancel(verb)


def image_folders(dataset: fo.Dataset) -> set[Path]:
    """The folders of maps and masks of all runs of the key."""
    folder = runs_folder(dataset, "segad")
    return {path for path in folder.glob("*/*") if path.name == "maps" or path.name.startswith("masks-")}


def used_folders(dataset: fo.Dataset) -> set[Path]:
    """Those that the fields name."""
    paths = [*dataset.values("segad_map.map_path"), *dataset.values("segad_mask.mask_path")]
    return {Path(path).parent for path in paths if path}


@VERBS
def test_cancelled_writes_leave_no_folder(dataset: fo.Dataset, prepare: Callable[[fo.Dataset], Verb]) -> None:
    verb = prepare(dataset)
    before = image_folders(dataset)
    for _ in range(3):
        cancel(verb)
        assert image_folders(dataset) == before
    verb()
    assert image_folders(dataset) == used_folders(dataset) and len(used_folders(dataset)) == 2
    assert not list(dataset_folder(dataset).rglob("*.json.partial")) and not note(dataset).exists()


@VERBS
def test_folders_of_killed_writes_go_with_the_next(
    dataset: fo.Dataset, prepare: Callable[[fo.Dataset], Verb], monkeypatch: pytest.MonkeyPatch
) -> None:
    verb = prepare(dataset)
    before = image_folders(dataset)
    kill(verb, monkeypatch)
    assert image_folders(dataset) > before and note(dataset).exists()
    verb()
    assert image_folders(dataset) == used_folders(dataset) and len(used_folders(dataset)) == 2
    assert not note(dataset).exists()


def note(dataset: fo.Dataset) -> Path:
    return runs_folder(dataset, "segad") / "uncommitted.json"


def test_a_removed_run_leaves_nothing_of_a_killed_write(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    kill(threshold_set(dataset), monkeypatch)
    segad.delete_run(dataset, "segad")
    assert not dataset_folder(dataset).exists()


def test_a_write_that_was_killed_after_it_was_committed_keeps_its_folders(
    dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute(dataset)
    with monkeypatch.context() as patch:
        patch.setattr(uncommitted, "_forget", lambda path: None)
        segad.set_threshold(dataset, "segad", 0.5)
    assert note(dataset).exists()
    used = used_folders(dataset)
    with pytest.raises(ValueError, match="is not known"):
        compute(dataset, method="other", overwrite=True)  # which recovers first
    assert not note(dataset).exists() and image_folders(dataset) == used == used_folders(dataset)


def test_the_folders_of_a_clone_stay(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run lies in the folder of its source, whose killed write must not take it along."""
    compute(dataset)
    clone = dataset.clone()
    try:
        segad.set_threshold(clone, "segad", 0.4)
        of_clone = {Path(path).parent for path in clone.values("segad_mask.mask_path") if path}
        kill(lambda **options: segad.set_threshold(dataset, "segad", 0.5, **options), monkeypatch)
        segad.set_threshold(dataset, "segad", 0.6)
        assert all(folder.is_dir() for folder in of_clone)
        before = image_folders(dataset)
        kill(lambda **options: segad.set_threshold(clone, "segad", 0.7, **options), monkeypatch)
        assert image_folders(dataset) > before
        segad.set_threshold(clone, "segad", 0.8)
        assert image_folders(dataset) == used_folders(dataset) | used_folders(clone)
    finally:
        clone.delete()


def test_only_folders_of_the_run_are_removed_whatever_a_note_names(dataset: fo.Dataset, tmp_path: Path) -> None:
    run = compute(dataset)
    outside = tmp_path / "masks-00000000"
    outside.mkdir()
    inside = [Path(run.folder) / name for name in ("scores", "bank", "maps", run.masks)]
    named = [outside, *inside, Path(run.folder), dataset_folder(dataset), inside[0] / ".." / "bank"]
    write_json(note(dataset), {"folders": [str(folder) for folder in named]})
    segad.set_threshold(dataset, "segad", 0.5)
    assert outside.is_dir() and all(folder.is_dir() for folder in inside[:3])
    assert segad.load_run(dataset, "segad").scored == 6


@pytest.mark.parametrize("content", ["", "[]", '{"folders": 7}', '{"folders": [7, null]}', "{"])
def test_a_damaged_note_is_no_hindrance(dataset: fo.Dataset, content: str) -> None:
    compute(dataset)
    note(dataset).write_text(content)
    segad.set_threshold(dataset, "segad", 0.5)
    assert image_folders(dataset) == used_folders(dataset) and not note(dataset).exists()
