"""The parsers of the package's own files, whatever is in these: what they are for, or an error that names the file."""

from __future__ import annotations

import json
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_bank_file import described, make_bank, rebuilt

from fiftyone_segad.errors import BankError, RunError, SegadError
from fiftyone_segad.segments.boxes import from_boxes, grid
from fiftyone_segad.storage.bank_file import BankFile, bank_images
from fiftyone_segad.storage.records import ImageFeatures, ImageScores
from fiftyone_segad.storage.store import FeatureParts, RunStore, ScoreParts
from fiftyone_segad.utils.array_files import map_arrays, read_arrays, write_arrays
from fiftyone_segad.utils.tensor_file import read_tensors
from fiftyone_segad.utils.whole_files import read_json
from fuzzing import FIXED, JSON

MEMORY = 16 * 2**20
"""Bytes that reading a file of some kB may take."""

NUMBERS = st.sampled_from([-(2**63), -1, 0, 1, 2, 3, 7, 2**31, 2**40, 2**62, 2**63 - 1])


def told(read: Callable[[Path], object], file: Path, *errors: type[Exception]) -> None:
    """Reads a file: it works, or is told by name; either in little memory."""
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


def score_arrays(folder: Path) -> dict[str, Any]:
    parts = ScoreParts(folder)
    for i, own in enumerate(SEGMENTS):
        parts.add(ImageScores(f"{i}", own, np.ones(len(own), np.float32), np.zeros(len(own), bool), 1.0))
    parts.flush()
    return read_arrays(folder / "part-000000.npz")


def feature_arrays(folder: Path) -> dict[str, Any]:
    parts = FeatureParts(folder)
    rows = [np.ones((len(own), 3), np.float32) for own in SEGMENTS]
    parts.append(
        [
            ImageFeatures(f"{i}", [own], [values], True, [values[:, 0]])
            for i, (own, values) in enumerate(zip(SEGMENTS, rows, strict=True))
        ]
    )
    return read_arrays(folder / "part-000000.npz")


class Whole(dict[str, Any]):
    """Files and arrays as they should be, by name."""

    def __repr__(self) -> str:  # or a failure prints them
        return "Whole()"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    make_bank().write(folder / "bank")
    return Whole(
        scores=score_arrays(folder / "scores"),
        features=feature_arrays(folder / "features"),
        part=(folder / "scores" / "part-000000.npz").read_bytes(),
        bank=(folder / "bank").read_bytes(),
    )


@FIXED
@given(data=st.data())
def test_bytes_of_parts(whole: Whole, data: st.DataObject) -> None:
    """Bytes that were changed, cut off, or doubled: no part is read as another one."""
    content = bytearray(whole["part"])
    how = data.draw(st.sampled_from(["flip", "cut", "double"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if how == "flip":
        content[place] ^= data.draw(st.integers(1, 255))
    elif how == "cut":
        del content[place:]
    else:
        content[place:place] = content[:place]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part-000000.npz"
        file.write_bytes(content)
        told(lambda file: all_of(ScoreParts(file.parent)), file, RunError)
        told(lambda file: ScoreParts(file.parent).ids(), file, RunError)
        told(map_arrays, file, RunError)


@FIXED
@given(data=st.data())
@pytest.mark.parametrize("kind", ["scores", "features"])
def test_arrays_of_parts(whole: Whole, kind: str, data: st.DataObject) -> None:
    """Files that are whole, but whose arrays contradict each other or are of another kind."""
    arrays = dict(whole[kind])
    name = data.draw(st.sampled_from(sorted(arrays)))
    how = data.draw(st.sampled_from(["drop", "number", "shorter", "type", "shape"]))
    values = arrays.pop(name)
    if how == "number" and values.dtype.kind in "iuf" and values.size:
        values = values.copy()
        values.flat[data.draw(st.integers(0, values.size - 1))] = data.draw(NUMBERS)
    elif how == "shorter":
        values = values[: data.draw(st.integers(0, len(values)))]
    elif how == "type":
        values = values.astype(data.draw(st.sampled_from(["U5", "f2", "i1", "?", "c8"])))
    elif how == "shape":
        values = values.reshape(-1, 1, 1)
    if how != "drop":
        arrays[name] = values
    read = ScoreParts if kind == "scores" else FeatureParts
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part-000000.npz"
        write_arrays(file, arrays)
        told(lambda file: all_of(read(file.parent)), file, RunError)


@pytest.mark.parametrize("read", [read_arrays, map_arrays])
def test_packed_arrays_are_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """A bomb of zeros: this package packs nothing."""
    file = tmp_path / "part-000000.npz"
    np.savez_compressed(file, ids=np.zeros(100 * 2**20, np.uint8))
    assert file.stat().st_size < 2**20
    with pytest.raises(RunError, match=r"part-000000\.npz' is damaged"):
        read(file)
    told(read, file, RunError)


@pytest.mark.parametrize("read", [read_arrays, map_arrays])
def test_an_array_that_says_it_is_larger(tmp_path: Path, read: Callable[[Path], object]) -> None:
    file = tmp_path / "part-000000.npz"
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("ids.npy", b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(RunError, match=r"part-000000\.npz' is damaged"):
        read(file)


@FIXED
@given(content=st.binary(max_size=200))
def test_any_bytes_as_a_bank(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bank"
        for each in (content, len(content).to_bytes(8, "little") + content + bytes(32)):
            file.write_bytes(each)
            with pytest.raises(BankError, match="bank"):
                read_tensors(file)


@FIXED
@given(data=st.data())
def test_any_values_in_a_bank(whole: Whole, data: st.DataObject) -> None:
    """A description that was changed by someone who could make the checksum fit."""

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
        file.write_bytes(rebuilt(whole["bank"], described(change)))
        told(BankFile.read, file, BankError)


@FIXED
@given(value=JSON)
def test_any_json(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(folder)
        for name in ("settings.json", "copies.json"):
            (store.folder / name).write_text(json.dumps(value))
        found = store.settings()
        assert found is None or isinstance(value, dict)
        told(lambda file: bank_images(store), store.folder / "copies.json", SegadError)


@FIXED
@given(content=st.binary(max_size=100))
def test_any_bytes_as_settings(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "settings.json").write_bytes(content)
        found = RunStore(folder).settings()
        assert found is None or isinstance(found, dict)


def test_json_that_is_too_deep_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 1_000_000)
    assert read_json(tmp_path / "a.json") is None
