"""Bank files that are damaged or made up: none is taken, crashes, or asks for more memory than the file has."""

from __future__ import annotations

import hashlib
import json
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import fiftyone_segad as segad
from banks import make_bank, rewrite, rewrite_header
from fiftyone_segad.scoring.levels import ALIGNED_ONLY
from fiftyone_segad.segments.turned import lay_back
from fiftyone_segad.segments.zones import ZoneMap
from fiftyone_segad.storage.bank_file import BankFile

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("bank") / "bank"
    make_bank().write(file)
    return file.read_bytes()


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    make_bank().write(tmp_path / "bank")
    return tmp_path / "bank"


def assert_refused(file: Path, match: str = ".") -> None:
    with pytest.raises(segad.BankError, match=match) as caught:
        BankFile.read(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("share", np.linspace(0, 0.999, 40))
def test_truncated(intact: bytes, tmp_path: Path, share: float) -> None:
    (tmp_path / "bank").write_bytes(intact[: int(share * len(intact))])
    assert_refused(tmp_path / "bank", "Copy it again")


@pytest.mark.parametrize("seed", range(100))
def test_altered_bytes(intact: bytes, tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    content = bytearray(intact)
    place = int(random.integers(len(intact))) if seed >= 10 else seed  # the first ten are the length and "{"
    content[place] ^= int(random.integers(1, 256))
    (tmp_path / "bank").write_bytes(content)
    assert_refused(tmp_path / "bank", "checksum|not a bank file")


@pytest.mark.parametrize("seed", range(60))
def test_altered_headers(intact: bytes, tmp_path: Path, seed: int) -> None:
    """Numbers of the format's own header changed: too large, negative, of another type."""
    random = np.random.default_rng(seed)
    values: list[Any] = [-1, 0, 1, 10**9, 10**18, 10**400, 1.5, None, "x", [], {}, True]
    length = int.from_bytes(intact[:8], "little")
    header = json.loads(intact[8 : 8 + length])
    names = sorted(name for name in header if name != "__metadata__")
    entry = header[names[seed % len(names)]]
    part = ("dtype", "shape", "data_offsets")[int(random.integers(3))]
    value = values[int(random.integers(len(values)))]
    if part == "dtype" or random.random() < 0.3:
        entry[part] = value
    else:
        entry[part][int(random.integers(len(entry[part])))] = value
    encoded = json.dumps(header).encode()
    if json.loads(encoded) == json.loads(intact[8 : 8 + length]):
        return  # the value that was there
    (tmp_path / "bank").write_bytes(len(encoded).to_bytes(8, "little") + encoded + intact[8 + length :])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert_refused(tmp_path / "bank")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024, "KiB"


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"format": "other"}, "not of a bank"),
        ({"version": "5"}, "version 5 of the format.*update fiftyone_segad"),
        ({"version": "x"}, "version x"),
        ({"version": "2"}, "version 2 .*or save the bank with this version"),
        ({"bank": "{"}, "no bank that can be used"),
        ({"bank": "7"}, "no bank that can be used"),
        ({"bank": "[" * 100_000}, "no bank that can be used"),
    ],
)
def test_texts_that_are_none_of_a_bank(bank: Path, texts: dict[str, str], reason: str) -> None:
    rewrite(bank, lambda _, old: old.update(texts))
    assert_refused(bank, reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda header: header.update(levels=["stride 8"] * 3), "rows.2"),
        (lambda header: header.update(levels=[]), "no levels"),
        (lambda header: header["images"].pop(), "images of level 0"),
        (lambda header: header["images"][0].update(name="../a.png"), "not the name of a file"),
        (lambda header: header["images"][0].update(name="b.png"), "two of one name"),
        (lambda header: header["thresholds"].update(image=float("nan")), "threshold is not finite"),
        (lambda header: header["thresholds"].update(image="1"), "thresholds.image"),
        (lambda header: header["thresholds"].pop("rule"), "thresholds.rule"),
        (lambda header: header.update(map_range=[2, 0]), "range of heatmaps"),
        (lambda header: header.update(map_range=[0, 1, 2]), "map_range"),
        (lambda header: header["settings"].pop("seed"), "seed"),
        (lambda header: header["settings"].update(bank_size="many"), "bank_size"),
        (lambda header: header["settings"].update(segments=7), "segments"),
        (lambda header: header["settings"].update(grey_scale="high"), "grey_scale"),
        (lambda header: header["settings"].update(grey_scale=[9, 3]), "from 9 to 3 is not within"),
        (lambda header: header["normals"].pop(), "shorter|longer"),
        (lambda header: header.update(embedder=3), "embedder"),
        (lambda header: header.update(other=3), "other"),
        (lambda header: header.update(marked=["c.png"]), "marked_rows.0"),
        (lambda header: header.update(marked="c.png"), "marked"),
        (lambda header: header.update(marked=["../c.png"]), "not the name of a file"),
    ],
)
def test_headers_that_contradict_the_arrays(bank: Path, change: Change, reason: str) -> None:
    rewrite_header(bank, change)
    assert_refused(bank, reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda arrays, texts: texts.update(version="3"), "version is another one"),
        (lambda arrays, texts: arrays.pop("zones.labels"), "zones.labels"),
        (lambda arrays, texts: arrays.update({"zones.labels": np.ones((2, 2, 3), np.uint8)}), "no picture of 8 bits"),
        (lambda arrays, texts: arrays.update({"zones.labels": np.ones((2, 2), np.int64)}), "no picture of 8 bits"),
        (lambda arrays, texts: arrays.update({"zones.labels": np.zeros((0, 2), np.uint8)}), "no picture of 8 bits"),
        (lambda arrays, texts: arrays.update({"zones.labels": np.zeros((2, 2), np.uint8)}), "or ignore all"),
        (lambda arrays, texts: arrays.update({"zones.labels": np.full((2, 2), 3, np.uint8)}), "have other numbers"),
        (
            lambda arrays, texts: texts.update(bank=texts["bank"].replace('["rim", "face"]', '["rim", "rim"]')),
            "two have one name",
        ),
    ],
)
def test_zones_that_contradict_each_other(
    bank: Path, change: Callable[[dict[str, Any], dict[str, str]], object], reason: str
) -> None:
    zones = ZoneMap(np.array([[0, 1], [2, 2]], np.uint8), ("rim", "face"))
    replace(make_bank(zones=["rim", "face"]), zones=zones).write(bank)
    read = BankFile.read(bank).zones
    assert read is not None and read.names == zones.names and read.labels.tolist() == zones.labels.tolist()
    rewrite(bank, change)
    assert_refused(bank, reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda arrays, texts: texts.update(version="3"), "version is another one"),
        (lambda arrays, texts: arrays.pop("fitted.aligned"), "version is another one"),
        (lambda arrays, texts: arrays.update({"fitted.aligned": np.full(1, 2)}), "in another way; save it again"),
        (lambda arrays, texts: arrays.update({"fitted.aligned": np.ones((2, 2))}), "in another way; save it again"),
        (lambda arrays, texts: arrays["normals.backs"].fill(np.inf), "not finite"),
        (lambda arrays, texts: arrays["normals.image_sizes"].fill(0), "has no size"),
        (lambda arrays, texts: arrays["normals.sizes"].fill(0), "has no size"),
        (lambda arrays, texts: arrays.pop("normals.image_sizes"), "image_sizes"),
    ],
)
def test_parts_laid_straight_that_fit_nothing(
    bank: Path, change: Callable[[dict[str, Any], dict[str, str]], object], reason: str
) -> None:
    upright = make_bank()
    back = np.array([[0.0, -1.0, 20.0], [1.0, 0.0, 3.0]])
    records = [
        replace(record, segments=lay_back((60, 50), record.segments, back)) if record.segments.shape else record
        for record in upright.calibration
    ]
    replace(upright, fitted=upright.fitted | ALIGNED_ONLY, calibration=records).write(bank)
    for record, expected in zip(BankFile.read(bank).calibration, records, strict=True):
        np.testing.assert_array_equal(record.segments.boxes, expected.segments.boxes)
    rewrite(bank, change)
    assert_refused(bank, reason)


def with_array(name: str, change: Callable[[Any], Any]) -> Change:
    return lambda arrays: arrays.__setitem__(name, change(arrays[name]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda arrays: arrays.pop("rows.0"), "rows.0"),
        (with_array("rows.0", lambda a: np.where(np.arange(4) == 1, np.float16(np.nan), a)), "not finite"),
        (with_array("rows.0", lambda a: a[:, :3]), "components of level 0 do not fit"),
        (with_array("rows.1", lambda a: a[:0]), "no table"),
        (with_array("rows.1", lambda a: a.ravel()), "no table"),
        (with_array("ends.0", lambda a: a[::-1].copy()), "overlap"),
        (with_array("ends.0", lambda a: a - 5), "overlap"),
        (with_array("ends.1", lambda a: a + 1), "overlap"),
        (with_array("fitted.mean0", lambda a: a[:-1]), "do not fit"),
        (with_array("fitted.scale1", lambda a: a * 0), "not positive"),
        (with_array("fitted.damping1", lambda a: a[:5]), "shape"),
        (with_array("fitted.damping0", lambda a: a * np.float32(np.inf)), "not finite"),
        (lambda arrays: arrays.pop("fitted.damping0"), "scale of level 0 is not complete"),
        (lambda arrays: arrays.pop("fitted.mean0"), "components of level 0 are not complete"),
        # Few intervals that stand for a million times a million boxes
        (with_array("normals.shapes", lambda a: a * 10**6), "segments do not fit"),
        (with_array("normals.shapes", lambda a: -a), "segments do not fit"),
        (with_array("normals.score_ends", lambda a: a + 1), "its images end at"),
        (with_array("normals.geometry_ends", lambda a: a[::-1].copy()), "its images have no ends"),
        (with_array("normals.geometry", lambda a: a[:-1]), "its images end at"),
        (with_array("normals.geometry", lambda a: a + 0.5), "whole pixels"),
        (with_array("normals.scores", lambda a: a[:-1]), "its images end at"),
        (with_array("normals.image_scores", lambda a: a + np.nan), "not finite"),
        (with_array("normals.sizes", lambda a: a * 0), "no size"),
        (with_array("normals.sizes", lambda a: a.ravel()), "no bank that can be used"),
    ],
)
def test_arrays_that_do_not_fit(bank: Path, change: Change, reason: str) -> None:
    rewrite(bank, lambda arrays, _: change(arrays))
    assert_refused(bank, reason)


def test_other_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", rows=np.zeros(3))
    assert_refused(tmp_path / "arrays.npz", "not a bank file")
    (tmp_path / "empty").write_bytes(b"")
    assert_refused(tmp_path / "empty", "not a bank file")
    safetensors.numpy.save_file({"rows": np.zeros(3)}, tmp_path / "foreign")
    assert_refused(tmp_path / "foreign", "another program has written it")
    with pytest.raises(FileNotFoundError, match="no file"):
        BankFile.read(tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        BankFile.read(tmp_path)


def test_a_file_of_version_0_1(tmp_path: Path) -> None:
    """It was sealed by a last array, the SHA-256 of all before it."""
    rows, seal = {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}, {"dtype": "U8", "shape": [32]}
    header = {"__metadata__": {"format": "fiftyone_segad bank", "version": "1", "bank": "{}"}, "rows.0": rows}
    encoded = json.dumps({**header, "sha256": {**seal, "data_offsets": [8, 40]}}).encode()
    content = len(encoded).to_bytes(8, "little") + encoded + bytes(8)
    (tmp_path / "old").write_bytes(content + hashlib.sha256(content).digest())
    assert_refused(tmp_path / "old", "fiftyone_segad before version 0.2.*save it again with this version")
