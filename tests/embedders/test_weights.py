"""Files of weights read without PyTorch, against PyTorch's own reader."""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fiftyone_segad.embedders.weights import read_weights

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001


class Call:
    """Makes a pickle that calls something when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def save(path: Path, tensors: Any, keys: Any = (), storages: bytes = b"") -> Path:
    """Writes pickles as PyTorch does."""
    parts = [pickle.dumps(value, 2) for value in (MAGIC, VERSION, {"little_endian": True}, tensors, keys)]
    path.write_bytes(b"".join(parts) + storages)
    return path


def crafted(path: Path, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], count: int = 4) -> Path:
    """A file of one tensor on a storage of four numbers, whose geometry may be wrong."""
    opcodes = [b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n(", b"(X\x07\x00\x00\x00storage"]
    opcodes += [b"ctorch\nFloatStorage\n", b"X\x01\x00\x00\x000", b"X\x03\x00\x00\x00cpu", b"K\x04NtQ"]

    def number(n: int) -> bytes:
        return pickle.dumps(n, 2)[2:-1]

    opcodes += [number(offset), b"(", *map(number, shape), b"t(", *map(number, strides), b"t"]
    opcodes += [b"\x89ccollections\nOrderedDict\n)RtRs."]
    parts = [pickle.dumps(value, 2) for value in (MAGIC, VERSION, {})]
    content = [*parts, b"".join(opcodes), pickle.dumps(["0"], 2), struct.pack("<Q", count)]
    path.write_bytes(b"".join(content) + np.arange(4, dtype="<f4").tobytes())
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A file that PyTorch wrote, of tensors of all kinds that it can hold."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    base = torch.randn(6, 5)
    tensors = OrderedDict(
        plain=torch.randn(3, 2, 4, 4),
        transposed=torch.randn(4, 7).t(),
        permuted=torch.randn(2, 3, 4).permute(2, 0, 1),
        part=base[2:5, 1:4],
        sharing=base,
        every_second=torch.arange(20.0)[3::2],
        expanded=torch.randn(3, 1).expand(3, 4),
        counter=torch.tensor(2**40 + 3),
        integers=torch.arange(-5, 7).reshape(3, 4).t(),
        scalar=torch.tensor(0.25),
        empty=torch.zeros(0, 3),
    )
    tensors.update({f"many.{i}": torch.full((2,), float(i)) for i in range(300)})  # beyond the memo's short opcodes
    torch.save(tensors, tmp_path / "saved.pth", _use_new_zipfile_serialization=False)
    return tmp_path / "saved.pth"


def test_tensors_equal_those_that_pytorch_reads(saved: Path) -> None:
    import torch

    expected, found = torch.load(saved, weights_only=True), read_weights(saved)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.numpy().dtype, name
        assert found[name].shape == tuple(tensor.shape), name
        np.testing.assert_array_equal(found[name], tensor.numpy(), err_msg=name)


def test_the_state_of_a_module(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))  # with versions, and a counter
    torch.save(module.state_dict(), tmp_path / "module.pth", _use_new_zipfile_serialization=False)
    found = read_weights(tmp_path / "module.pth")
    assert list(found) == list(module.state_dict())
    for name, tensor in module.state_dict().items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


def test_a_single_tensor(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    for tensors in ({"a": torch.arange(3.0)}, {}):
        torch.save(tensors, tmp_path / "few.pth", _use_new_zipfile_serialization=False)
        assert {name: array.tolist() for name, array in read_weights(tmp_path / "few.pth").items()} == {
            name: tensor.tolist() for name, tensor in tensors.items()
        }


def test_a_crafted_file_is_read_as_far_as_it_is_right(tmp_path: Path) -> None:
    found = read_weights(crafted(tmp_path / "a.pth", 1, (2, 2), (1, 1)))
    assert found["a"].tolist() == [[1, 2], [2, 3]]


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        pytest.param(0, (5,), (1,), id="too long"),
        pytest.param(2, (3,), (1,), id="begins too late"),
        pytest.param(0, (2,), (4,), id="strides too long"),
        pytest.param(0, (3, 3), (1, 1), id="together too long"),
        pytest.param(3, (4,), (-2,), id="reads backwards, out of the storage"),
        pytest.param(-1, (1,), (1,), id="begins before"),
        pytest.param(0, (-1,), (1,), id="negative shape"),
        pytest.param(0, (2, 2), (1,), id="strides missing"),
        pytest.param(0, (0, 2**70), (1, 1), id="beyond all integers"),
        pytest.param(2**70, (1,), (1,), id="begins beyond all integers"),
        pytest.param(0, (1,), (2**70,), id="stride beyond all integers"),
    ],
)
def test_error_of_tensors_that_reach_beyond_their_storage(
    tmp_path: Path, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"a\.pth' is not a file of weights"):
        read_weights(crafted(tmp_path / "a.pth", offset, shape, strides))


@pytest.mark.parametrize("count", [5, 2**31, 2**62, 2**64 - 1])
def test_error_of_a_storage_that_is_longer_than_the_file(tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match="is not a file of weights"):
        read_weights(crafted(tmp_path / "a.pth", 0, (4,), (1,), count))


@pytest.mark.parametrize("where", ["tensors", "value", "keys", "key"])
def test_what_would_run_code_is_refused(tmp_path: Path, where: str) -> None:
    ran = tmp_path / "ran"
    call = Call(os.system, f"touch {ran}")
    contents: dict[str, tuple[Any, Any]] = {
        "tensors": (call, []),
        "value": ({"a": call}, []),
        "keys": ({}, call),
        "key": ({}, [call]),
    }
    file = save(tmp_path / "evil.pth", *contents[where])
    with pytest.raises(ValueError, match=r"evil\.pth' is not a file of weights.*wants to call (posix|nt) system"):
        read_weights(file)
    assert not ran.exists()
    with file.open("rb") as opened:  # the file is one that would run it
        for _ in range(5):
            pickle.load(opened)
    assert ran.exists()


@pytest.mark.parametrize("function", [eval, getattr, open, OrderedDict.fromkeys, np.zeros])
def test_other_calls_are_refused(tmp_path: Path, function: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a file of weights.*(wants to call|holds the opcode)"):
        read_weights(save(tmp_path / "a.pth", {"a": Call(function, "1")}, []))


@pytest.mark.parametrize("protocol", [0, 1, 3, 4, 5])
def test_other_protocols_are_refused_without_running_them(tmp_path: Path, protocol: int) -> None:
    ran = tmp_path / "ran"
    call = {"a": Call(os.system, f"touch {ran}")}
    (tmp_path / "a.pth").write_bytes(b"".join(pickle.dumps(value, protocol) for value in (1, 2, {}, call, [])))
    with pytest.raises(ValueError, match="is not a file of weights"):
        read_weights(tmp_path / "a.pth")
    assert not ran.exists()


def test_error_of_the_newer_format_and_of_other_types(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.ones(3)}, tmp_path / "new.pth")
    torch.save({"a": torch.ones(3).half()}, tmp_path / "half.pth", _use_new_zipfile_serialization=False)
    torch.save({"a": [torch.ones(3)]}, tmp_path / "list.pth", _use_new_zipfile_serialization=False)
    for name in ("new", "half", "list"):
        with pytest.raises(ValueError, match=rf"{name}\.pth' is not a file of weights"):
            read_weights(tmp_path / f"{name}.pth")


def test_a_truncated_file_is_a_value_error(saved: Path, tmp_path: Path) -> None:
    content = saved.read_bytes()
    random = np.random.default_rng(0)
    file = tmp_path / "cut.pth"
    for length in [*range(0, 300, 5), *random.integers(300, len(content), 60), len(content) - 1]:
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"cut\.pth' is not a file of weights"):
            read_weights(file)


@pytest.mark.filterwarnings("ignore:.*escape sequence:DeprecationWarning")  # of pickletools, about the damage
def test_random_bytes_are_a_value_error(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    file = tmp_path / "random.pth"
    for length in random.integers(0, 400, 1500):
        # Half of them begin as a pickle does, and so come further
        file.write_bytes(b"\x80\x02" * int(random.integers(2)) + random.bytes(int(length)))
        with pytest.raises(ValueError, match=r"random\.pth' is not a file of weights"):
            read_weights(file)


@pytest.mark.filterwarnings("ignore:.*escape sequence:DeprecationWarning")
def test_a_damaged_file_is_read_or_a_value_error(tmp_path: Path) -> None:
    file = crafted(tmp_path / "damaged.pth", 1, (2, 2), (1, 1))
    content = bytearray(file.read_bytes())
    random = np.random.default_rng(2)
    refused = 0
    for _ in range(1500):
        damaged = content.copy()
        for place in random.integers(len(content), size=random.integers(1, 4)):
            damaged[place] = random.integers(256)
        file.write_bytes(damaged)
        try:
            for tensor in read_weights(file).values():
                assert tensor.size < 100  # a tensor that is larger than its storage was not refused
        except ValueError as error:
            assert "is not a file of weights" in str(error)
            refused += 1
    assert 200 < refused < 1500  # some of the damage is to the numbers alone
