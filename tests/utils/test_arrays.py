"""Files of arrays: what was put in comes out, mapped, or an error says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from fiftyone_segad.errors import RunError
from fiftyone_segad.utils.arrays import as_run_error, map_arrays, read_texts, write_arrays

ARRAYS: dict[str, Any] = {
    "by columns": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "none": np.zeros((0, 5), np.float16),
    "number": np.array(3),
    "flags": np.array([True, False, True]),
    "every other": np.arange(10, dtype=np.float32)[::2],
    "big-endian": np.arange(3, dtype=">f4"),
    "bytes": np.arange(7, dtype=np.uint8),
}


def test_round_trip(tmp_path: Path) -> None:
    write_arrays(tmp_path / "folder" / "file", ARRAYS, {"name": "ü", "empty": ""})
    arrays, texts = map_arrays(tmp_path / "folder" / "file")
    assert texts == read_texts(tmp_path / "folder" / "file") == {"name": "ü", "empty": ""}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (arrays[name].shape, arrays[name].dtype) == (array.shape, array.dtype.newbyteorder("<"))
        np.testing.assert_array_equal(arrays[name], array)
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["file"]


def test_nothing_is_a_file_too(tmp_path: Path) -> None:
    write_arrays(tmp_path / "file", {})
    assert map_arrays(tmp_path / "file") == ({}, {})


def test_arrays_are_mapped_and_read_only(tmp_path: Path) -> None:
    write_arrays(tmp_path / "file", ARRAYS)
    for array in map_arrays(tmp_path / "file")[0].values():
        base: Any = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        assert isinstance(base, np.memmap) and not array.flags.writeable


def test_any_reader_of_the_format_can_open_them(tmp_path: Path) -> None:
    write_arrays(tmp_path / "file", ARRAYS)
    np.testing.assert_array_equal(
        safetensors.numpy.load_file(tmp_path / "file")["by columns"], np.arange(12.0).reshape(3, 4)
    )


@pytest.mark.parametrize("read", [map_arrays, read_texts])
def test_files_of_others(tmp_path: Path, read: Any) -> None:
    safetensors.numpy.save_file({"a": np.zeros(3)}, tmp_path / "foreign")
    with pytest.raises(ValueError, match="no checksums: another program has written it"):
        read(tmp_path / "foreign")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="no safetensors file"):
        read(tmp_path / "arrays.npz")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent")


def test_a_changed_byte_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    write_arrays(tmp_path / "file", ARRAYS, {"name": "some text"})
    content = (tmp_path / "file").read_bytes()
    for place in range(len(content)):
        (tmp_path / "file").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"checksum|no safetensors file|values of the type|no checksums"):
            map_arrays(tmp_path / "file")


def test_types_that_are_not_read(tmp_path: Path) -> None:
    write_arrays(tmp_path / "file", {"a": np.zeros(3, np.complex64)})
    with pytest.raises(ValueError, match="'a' has values of the type C64"):
        map_arrays(tmp_path / "file")


def test_an_array_that_says_it_is_larger(tmp_path: Path) -> None:
    header = {"a": {"dtype": "F64", "shape": [10**12], "data_offsets": [0, 8 * 10**12]}}
    encoded = json.dumps(header).encode()
    (tmp_path / "file").write_bytes(len(encoded).to_bytes(8, "little") + encoded + bytes(80))
    with pytest.raises(ValueError, match="not all of one"):
        map_arrays(tmp_path / "file")


def test_an_error_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: Path, content: bytes) -> None:
        with open(file, "wb") as target:
            target.write(content[:5])
        raise OSError("No space left on device")

    write_arrays(tmp_path / "file", {"a": np.arange(3)})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        with pytest.raises(OSError, match="No space left"):
            write_arrays(tmp_path / "file", {"a": np.arange(5)})
    assert map_arrays(tmp_path / "file")[0]["a"].tolist() == [0, 1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_damage_of_a_run_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"no arrays")
    with (
        pytest.raises(RunError, match=r"part' is damaged .* run again with overwrite=True"),
        as_run_error(tmp_path / "part"),
    ):
        map_arrays(tmp_path / "part")
