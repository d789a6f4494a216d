"""Banks as files: read as they were written, and unpacked into the store of a run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import fiftyone_segad as segad
from banks import LEVELS, make_bank
from fiftyone_segad.embedders.base import Level
from fiftyone_segad.scoring.levels import LevelScorer
from fiftyone_segad.segments.boxes import grid
from fiftyone_segad.storage.bank_file import BankFile
from fiftyone_segad.storage.records import ImageFeatures, ImageScores
from fiftyone_segad.storage.store import RunStore


def assert_same_levels(bank: BankFile, expected: BankFile) -> None:
    for level, other in zip(bank.levels, expected.levels, strict=True):
        for name, array in vars(other).items():
            np.testing.assert_array_equal(vars(level)[name], array)
            assert array is None or vars(level)[name].dtype == array.dtype


def test_a_bank_is_read_as_it_was_written(tmp_path: Path) -> None:
    bank = make_bank()
    bank.write(tmp_path / "bank")
    again = BankFile.read(tmp_path / "bank")
    assert list(tmp_path.iterdir()) == [tmp_path / "bank"], "nothing else is left"
    assert again.header == bank.header
    assert_same_levels(again, bank)
    assert set(again.fitted) == set(bank.fitted)
    for name, array in bank.fitted.items():
        np.testing.assert_array_equal(again.fitted[name], array)
    for record, expected in zip(again.calibration, bank.calibration, strict=True):
        assert (record.id, record.image_score) == (expected.id, expected.image_score)
        np.testing.assert_array_equal(record.scores, expected.scores)
        np.testing.assert_array_equal(record.segments.boxes, expected.segments.boxes)
    assert again.checksum == hashlib.sha256((tmp_path / "bank").read_bytes()).hexdigest()
    again.check_levels(LEVELS)


def test_the_same_bank_is_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "other"):
        make_bank().write(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_any_reader_of_safetensors_can_open_it(tmp_path: Path) -> None:
    make_bank().write(tmp_path / "bank.safetensors")
    arrays = safetensors.numpy.load_file(tmp_path / "bank.safetensors")
    np.testing.assert_array_equal(arrays["rows.0"], make_bank().levels[0].rows)


def test_unpacked_it_is_the_store_of_a_run(tmp_path: Path) -> None:
    bank = make_bank()
    store = RunStore.create(tmp_path / "run", {})
    bank.unpack(store)
    bank.unpack(store)
    images = list(store.bank)
    assert [image.path for image in images] == ["a.png", "b.png", "ü c.png"]
    assert [[len(rows) for rows in image.features] for image in images] == [[3, 1], [0, 1], [4, 1]]
    np.testing.assert_array_equal(np.concatenate([image.features[0] for image in images]), bank.levels[0].rows)
    assert [record.id for record in store.normals] == ["a.png", "b.png", "ü c.png"]
    assert set(store.levels()) == set(bank.fitted)


def test_the_bank_of_a_run(tmp_path: Path) -> None:
    """Names without folders stay apart; the setting of the bank that the run itself was made with goes."""
    random = np.random.default_rng(1)
    files = [tmp_path / name / "same.png" for name in ("one", "other")]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(file.parent.name.encode())
    store = RunStore.create(tmp_path / "run", {})
    segments = grid((8, 8), 2)
    features = [[random.random((4, 3), np.float32)] for _ in files]
    store.bank.append([ImageFeatures(str(f), [segments], rows, True) for f, rows in zip(files, features, strict=True)])
    store.marked.append([ImageFeatures("/else/mark.png", [segments], [np.ones((4, 3), np.float32)], True)])
    for file in files:
        store.normals.add(ImageScores(str(file), segments, np.ones(4, np.float32), np.zeros(4, bool), 1.0))
    store.normals.flush()
    template = make_bank().header
    bank = BankFile.of(
        store,
        LevelScorer([Level("only")]),
        [[rows[0][:2] for rows in features]],  # a coreset of the first two rows
        embedder="efficientnet",
        settings={**template.settings, "bank": "checksum of another bank"},
        thresholds=template.thresholds,
        map_range=(0.0, 1.0),
    )
    bank.write(tmp_path / "bank")
    again = BankFile.read(tmp_path / "bank")
    assert again.header == bank.header and again.header.settings == template.settings
    assert [(image.name, image.size) for image in again.header.images] == [("same.png", 3), ("same_2.png", 5)]
    assert again.header.images[0].sha256 == hashlib.sha256(b"one").hexdigest()
    assert again.header.normals == ["same.png", "same_2.png"] and again.header.marked == ["mark.png"]
    (level,) = again.levels
    np.testing.assert_array_equal(level.rows, np.concatenate([rows[0][:2] for rows in features]))
    assert level.ends.tolist() == [2, 4] and level.marked_ends is not None and level.marked_ends.tolist() == [4]
    np.testing.assert_array_equal(level.marked_rows, np.ones((4, 3)))
    unpacked = RunStore.create(tmp_path / "new run", {})
    again.unpack(unpacked)
    assert unpacked.marked.paths() == ["mark.png"]


@pytest.mark.parametrize(
    "levels", [LEVELS[:1], (*LEVELS, Level("c")), (Level("stride 8"), LEVELS[1]), (Level("other", 1, 4), LEVELS[1])]
)
def test_an_embedder_of_other_levels(levels: tuple[Level, ...]) -> None:
    with pytest.raises(segad.BankError, match="the embedder gives"):
        make_bank().check_levels(levels)


def test_a_bank_without_scales_does_not_fit_levels_that_need_them() -> None:
    fitted: dict[str, Any] = make_bank().fitted
    unscaled = {name: array for name, array in fitted.items() if not name.startswith(("scale", "damping"))}
    with pytest.raises(segad.BankError):
        make_bank(fitted=unscaled).check_levels(LEVELS)
