"""The package's own files, whatever is in them: what they are for, or an error that names the file."""

from __future__ import annotations

import json
import tempfile
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from banks import make_bank, rewrite_header
from fiftyone_segad.errors import BankError, RunError, SegadError
from fiftyone_segad.segments.boxes import from_boxes, grid
from fiftyone_segad.storage.bank_file import BankFile
from fiftyone_segad.storage.bank_images import bank_images
from fiftyone_segad.storage.parts import FeatureParts, ScoreParts
from fiftyone_segad.storage.records import ImageFeatures, ImageScores
from fiftyone_segad.storage.store import RunStore
from fiftyone_segad.utils.arrays import map_arrays, write_arrays
from fiftyone_segad.utils.files import read_json
from fuzzing import FIXED, JSON

PART = "part-000000.safetensors"

MEMORY = 16 * 2**20
"""Bytes that reading a file of some kB may take."""

NUMBERS = st.sampled_from([-(2**63), -1, 0, 1, 2, 3, 7, 2**31, 2**40, 2**62, 2**63 - 1])


def read_or_refuse(read: Callable[[Path], object], file: Path, *errors: type[Exception]) -> None:
    """Read a file: it works, or an error names the file; either in little memory."""
    tracemalloc.start()
    try:
        read(file)
    except errors as error:
        assert file.name in str(error), error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MEMORY, f"{peak:,} bytes"


def all_of(parts: Iterable[object]) -> None:
    for _ in parts:
        pass


SEGMENTS = [grid((97, 61), 5), from_boxes((50, 40), [[3, 4, 9, 30], [0, 0, 50, 40]]), grid((9, 8), 2)]


def write_scores(folder: Path) -> None:
    parts = ScoreParts(folder)
    for i, boxes in enumerate(SEGMENTS):
        parts.add(ImageScores(f"{i}", boxes, np.ones(len(boxes), np.float32), np.zeros(len(boxes), bool), 1.0))
    parts.flush()


def write_features(folder: Path) -> None:
    features = [np.ones((len(boxes), 3), np.float32) for boxes in SEGMENTS]
    FeatureParts(folder).append(
        [
            ImageFeatures(f"{i}", [boxes], [rows], True, [rows[:, 0]])
            for i, (boxes, rows) in enumerate(zip(SEGMENTS, features, strict=True))
        ]
    )


class Intact(dict[str, Any]):
    """Files and arrays as they should be, by name."""

    def __repr__(self) -> str:  # or a failure prints them
        return "Intact()"


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Intact:
    folder = tmp_path_factory.mktemp("intact")
    make_bank().write(folder / "bank")
    write_scores(folder / "scores")
    write_features(folder / "features")
    return Intact(
        scores=map_arrays(folder / "scores" / PART),
        features=map_arrays(folder / "features" / PART),
        part=(folder / "scores" / PART).read_bytes(),
        bank=(folder / "bank").read_bytes(),
    )


@FIXED
@given(data=st.data())
def test_bytes_of_parts(intact: Intact, data: st.DataObject) -> None:
    """Bytes that were changed, cut off, or doubled: no part is read as another one."""
    content = bytearray(intact["part"])
    how = data.draw(st.sampled_from(["flip", "cut", "double"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if how == "flip":
        content[place] ^= data.draw(st.integers(1, 255))
    elif how == "cut":
        del content[place:]
    else:
        content[place:place] = content[:place]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / PART
        file.write_bytes(content)
        read_or_refuse(lambda file: all_of(ScoreParts(file.parent)), file, RunError)
        read_or_refuse(lambda file: ScoreParts(file.parent).ids(), file, RunError)


@FIXED
@given(data=st.data())
@pytest.mark.parametrize("kind", ["scores", "features"])
def test_arrays_of_parts(intact: Intact, kind: str, data: st.DataObject) -> None:
    """Files that are complete, but whose arrays contradict each other or are of another kind."""
    arrays, texts = dict(intact[kind][0]), dict(intact[kind][1])
    name = data.draw(st.sampled_from(sorted(arrays)))
    how = data.draw(st.sampled_from(["drop", "number", "shorter", "type", "shape"]))
    values = arrays.pop(name)
    if how == "number" and values.dtype.kind in "iuf" and values.size:
        values = values.copy()
        values.flat[data.draw(st.integers(0, values.size - 1))] = data.draw(NUMBERS)
    elif how == "shorter":
        values = values[: data.draw(st.integers(0, len(values)))]
    elif how == "type":
        values = values.astype(data.draw(st.sampled_from(["f2", "i1", "?", "c8", "f8"])))
    elif how == "shape":
        values = values.reshape(-1, 1, 1)
    if how != "drop":
        arrays[name] = values
    if data.draw(st.booleans()):
        texts["names"] = json.dumps(data.draw(JSON))
    read = ScoreParts if kind == "scores" else FeatureParts
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / PART
        write_arrays(file, arrays, texts)
        read_or_refuse(lambda file: all_of(read(file.parent)), file, RunError)


@FIXED
@given(content=st.binary(max_size=200))
def test_any_bytes_as_a_bank(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bank"
        for bytes_of_file in (content, len(content).to_bytes(8, "little") + content + bytes(32)):
            file.write_bytes(bytes_of_file)
            with pytest.raises(BankError, match="bank"):
                BankFile.read(file)


@FIXED
@given(data=st.data())
def test_any_values_in_a_bank(intact: Intact, data: st.DataObject) -> None:
    """A header that was changed by someone who could make the checksum fit."""

    def change(bank: dict[str, Any]) -> None:
        at: Any = bank
        while True:  # goes down to a value of any depth
            key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
            if isinstance(at[key], dict | list) and at[key] and data.draw(st.booleans()):
                at = at[key]
                continue
            at[key] = data.draw(JSON)
            return

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bank"
        file.write_bytes(intact["bank"])
        rewrite_header(file, change)
        read_or_refuse(BankFile.read, file, BankError)


@FIXED
@given(value=JSON)
def test_any_json(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(folder)
        (store.folder / "settings.json").write_text(json.dumps({"format": 2, "settings": value}))
        (store.folder / "copies.json").write_text(json.dumps(value))
        settings = store.settings()
        assert settings is None or isinstance(settings, dict)
        read_or_refuse(lambda file: bank_images(store), store.folder / "copies.json", SegadError)


@FIXED
@given(content=st.binary(max_size=100))
def test_any_bytes_as_settings(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "settings.json").write_bytes(content)
        settings = RunStore(folder).settings()
        assert settings is None or isinstance(settings, dict)


def test_json_that_is_too_deep_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 1_000_000)
    assert read_json(tmp_path / "a.json") is None
