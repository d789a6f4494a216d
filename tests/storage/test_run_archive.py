"""The folder or ZIP file of an exported run: what is read of it, and what is not."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fiftyone_segad.errors import RunError
from fiftyone_segad.segments.boxes import grid
from fiftyone_segad.storage.records import ImageScores
from fiftyone_segad.storage.run_archive import (
    CarriedImage,
    RunArchive,
    SlicesArchive,
    is_archive,
    open_store,
    read_archive,
    read_slices,
    write_archive,
    write_slices,
)
from fiftyone_segad.storage.store import RunStore

ARCHIVE = RunArchive(
    {"key": "segad"}, [CarriedImage("1", "/a.png", 3, "0f")], [CarriedImage("/n.png", "/n.png", -1, "")]
)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    made = RunStore.create(tmp_path / "segad" / "run", {"method": "within_image"})
    made.scores.add(ImageScores("1", grid((8, 8), 2), np.ones(4, np.float32), np.zeros(4, bool), 1.0))
    made.scores.flush()
    (made.folder / "maps").mkdir()
    (made.folder / "maps" / "1.png").write_bytes(b"x")
    return made


@pytest.fixture(params=["folder", "packed.ZIP"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / "new" / str(request.param)


def test_what_is_written_is_read(store: RunStore, target: Path, tmp_path: Path) -> None:
    write_archive(target, ARCHIVE, store)
    assert read_archive(target) == ARCHIVE
    with open_store(target, tmp_path) as carried:
        assert carried.settings() == store.settings() and carried.scores.ids() == {"1"}
        assert not carried.maps.exists()
    assert store.scores.ids() == {"1"}
    assert {path.name for path in tmp_path.iterdir()} == {"segad", "new"}, "what was unpacked is gone"


def test_each_slice_has_a_folder_of_its_own(store: RunStore, target: Path, tmp_path: Path) -> None:
    other = RunStore.create(tmp_path / "segad" / "other", {"method": "reference"})
    slices = SlicesArchive("segad", ["left", "../right"], "", ["a note"], {"parts": []})
    archives = [ARCHIVE, RunArchive({"key": "other"}, [], [])]
    write_slices(target, slices, list(zip(archives, (store, other), strict=True)))
    assert read_slices(target) == slices and is_archive(target)
    for (name, folder), archive, own in zip(slices.folders().items(), archives, (store, other), strict=True):
        assert read_archive(target, folder) == archive, name
        with open_store(target, tmp_path, folder) as carried:
            assert carried.settings() == own.settings() and carried.scores.ids() == own.scores.ids()
    with pytest.raises(RunError, match="is no run that this version has exported"):
        read_archive(target)
    write_archive(target, ARCHIVE, store)
    assert read_slices(target) is None


def test_only_parts_of_a_store_are_read(store: RunStore, tmp_path: Path) -> None:
    target = tmp_path / "packed.zip"
    write_archive(target, ARCHIVE, store)
    with zipfile.ZipFile(target, "a") as packed:
        for name in (
            "../evil.txt",
            "/evil.txt",
            "scores/../../evil.txt",
            "maps/evil.png",
            "held_out/../part-000000.safetensors",
        ):
            packed.writestr(name, "evil")
    with open_store(target, tmp_path) as carried:
        files = [path.relative_to(carried.folder).as_posix() for path in carried.folder.rglob("*") if path.is_file()]
        assert sorted(files) == ["scores/part-000000.safetensors", "settings.json"]
    assert not list(tmp_path.rglob("evil*")) and not Path("/evil.txt").exists()


def test_links_are_not_followed(store: RunStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (store.folder / "copies.json").symlink_to(secret)
    write_archive(tmp_path / "out", ARCHIVE, store)
    assert not (tmp_path / "out" / "copies.json").exists()


def test_what_is_no_exported_run_is_refused(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as packed:
        packed.writestr("a.txt", "x")
    for name in ("empty", "text.zip", "other.zip"):
        with pytest.raises(RunError, match=r"is no run that this version|is no exported run"):
            read_archive(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "absent")
    write_archive(tmp_path / "run", ARCHIVE, store)
    record = tmp_path / "run" / "run.json"
    saved = json.loads(record.read_text())
    for changed in ({**saved, "format": "fiftyone_segad run 9"}, [saved], "x"):
        record.write_text(json.dumps(changed))
        with pytest.raises(RunError, match="is no run that this version"):
            read_archive(tmp_path / "run")
    for name, value in (("samples", [{"id": 3}]), ("run", []), ("surprise", 1)):
        record.write_text(json.dumps({**saved, name: value}))
        with pytest.raises(RunError, match=r"run.json' is damaged.*Export the run again"):
            read_archive(tmp_path / "run")


def test_what_another_program_has_compressed_is_refused(store: RunStore, tmp_path: Path) -> None:
    """A small file could hold terabytes."""
    write_archive(tmp_path / "run", ARCHIVE, store)
    with zipfile.ZipFile(tmp_path / "small.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(tmp_path / "run" / "run.json", "run.json")
    with pytest.raises(RunError, match=r"is compressed, .*; unpack it first"):
        read_archive(tmp_path / "small.zip")
