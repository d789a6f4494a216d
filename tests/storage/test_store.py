"""The run's folder: parts are complete or absent, and hold what was put in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fiftyone_segad.errors import RunError
from fiftyone_segad.segments.boxes import Segments, from_boxes, grid, patch_grid, tiles
from fiftyone_segad.storage.parts import PART_SIZE, FeatureParts, Parts, ScoreParts
from fiftyone_segad.storage.records import ImageFeatures, ImageScores
from fiftyone_segad.storage.store import RunStore
from fiftyone_segad.utils.arrays import write_arrays
from fiftyone_segad.utils.files import read_json, write_json


def record(id: str, segments: Segments, seed: int = 0) -> ImageScores:
    random = np.random.default_rng(seed)
    scores = random.random(len(segments)).astype(np.float32)
    return ImageScores(id, segments, scores, scores > 0.7, float(random.random()))


RECORDS = [
    record("grid", grid((97, 61), 5), 1),
    record("tiles", tiles((640, 333)), 2),
    record("/a path/with ümlaut.png", from_boxes((50, 40), [[3, 4, 9, 30], [0, 0, 50, 40], [7, 7, 8, 8]]), 3),
    record("no boxes", from_boxes((50, 40), []), 4),
    record("one row", Segments((30, 9), np.array([[0, 0, 9, 9], [9, 0, 30, 9]]), (1, 2)), 5),
    record("one box", from_boxes((8, 9), [[1, 2, 3, 4]]), 6),
]


def assert_same(image: ImageScores, expected: ImageScores) -> None:
    assert (image.id, image.image_score) == (expected.id, expected.image_score)
    assert (image.segments.size, image.segments.shape) == (expected.segments.size, expected.segments.shape)
    np.testing.assert_array_equal(image.segments.boxes, expected.segments.boxes)
    np.testing.assert_array_equal(image.scores, expected.scores)
    np.testing.assert_array_equal(image.outliers, expected.outliers)
    assert (image.scores.dtype, image.outliers.dtype) == (np.float32, bool)


@pytest.mark.parametrize("split", [1, 2, len(RECORDS)])  # records per part
def test_round_trip(tmp_path: Path, split: int) -> None:
    parts = ScoreParts(tmp_path / "scores")
    for index, image in enumerate(RECORDS, start=1):
        parts.add(image)
        if index % split == 0:
            parts.flush()
    for one, other in zip(ScoreParts(tmp_path / "scores"), RECORDS, strict=True):
        assert_same(one, other)
    assert parts.ids() == {image.id for image in RECORDS}


def test_a_part_is_written_when_it_is_full(tmp_path: Path) -> None:
    parts = ScoreParts(tmp_path)
    for index in range(PART_SIZE - 1):
        parts.add(record(str(index), grid((4, 4), 2)))
    assert parts.ids() == set()
    parts.add(record("last", grid((4, 4), 2)))
    assert len(parts.ids()) == PART_SIZE
    parts.add(record("next", grid((4, 4), 2)))
    parts.flush()
    parts.flush()  # nothing is left to write
    assert [image.id for image in parts] == [*map(str, range(PART_SIZE - 1)), "last", "next"]
    assert len(list(tmp_path.iterdir())) == 2


def lengths(parts: Parts) -> list[tuple[list[str], int]]:
    """Names and length of the array ``a`` of each part."""
    return list(parts.unpacked(lambda names, arrays: iter([(names, len(arrays["a"]))])))


def test_parts_keep_their_order(tmp_path: Path) -> None:
    for index in range(12):
        Parts(tmp_path).append([f"{index}"], {"a": np.zeros(index)})
    assert lengths(Parts(tmp_path)) == [([f"{index}"], index) for index in range(12)]
    assert Parts(tmp_path).names() == [f"{index}" for index in range(12)]


def test_remains_of_a_crash_are_ignored(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.append(["one"], {"a": np.arange(3)})
    (tmp_path / ".part-000001.safetensors.partial").write_bytes(b"half of a part")
    assert lengths(parts) == [(["one"], 3)]
    parts.append(["other"], {"a": np.arange(5)})
    assert lengths(parts) == [(["one"], 3), (["other"], 5)]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_write_that_fails_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: Path, content: bytes) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        with pytest.raises(OSError, match="No space left"):
            Parts(tmp_path).append(["one"], {"a": np.arange(3)})
    assert lengths(Parts(tmp_path)) == []


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_error_of_a_damaged_part(tmp_path: Path, damage: str) -> None:
    parts = ScoreParts(tmp_path)
    for image in RECORDS:
        parts.add(image)
        parts.flush()
    file = tmp_path / "part-000002.safetensors"
    content = file.read_bytes()
    file.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"no archive"}[damage])
    with pytest.raises(RunError, match=r"part-000002\.safetensors' is damaged .* overwrite=True"):
        list(parts)
    with pytest.raises(RunError, match=r"part-000002\.safetensors"):
        parts.ids()


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with open(tmp_path / "part-000000.safetensors", "wb") as file:
        np.savez(file, a=np.array([Touch(str(ran))], dtype=object))
    with pytest.raises(RunError, match=r"part-000000\.safetensors' is damaged"):
        lengths(Parts(tmp_path))
    assert not ran.exists()


def test_settings(tmp_path: Path) -> None:
    made = RunStore.create(tmp_path / "data" / "key" / "run", {"method": "reference", "segments": "grid:7"})
    assert made.exists() and RunStore(made.folder).settings() == {"method": "reference", "segments": "grid:7"}
    (made.folder / "settings.json").write_text("{half")
    assert made.settings() is None
    write_json(made.folder / "settings.json", {"method": "reference"})
    assert made.settings() is None, "as version 0.1 wrote them"
    assert RunStore(tmp_path / "other").settings() is None and not RunStore(tmp_path / "other").exists()


def test_error_of_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"Cannot write the run's files to '.*file/run'.*FIFTYONE_SEGAD_DIR"):
        RunStore.create(tmp_path / "file" / "run", {})


def test_json_that_is_no_object_is_none(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": 1})
    assert read_json(tmp_path / "a.json") == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    (tmp_path / "a.json").write_text("[1, 2]")
    assert read_json(tmp_path / "a.json") is None


def test_delete_removes_its_own_folders_only(tmp_path: Path) -> None:
    root = tmp_path / "segad"
    one = RunStore.create(root / "dataset" / "key" / "one", {})
    two = RunStore.create(root / "dataset" / "key" / "two", {})
    other = RunStore.create(root / "dataset" / "other" / "run", {})
    write_arrays(one.folder / "levels.safetensors", {"a": np.arange(3)})
    one.delete()
    assert not one.exists() and two.settings() == {} and other.settings() == {}
    two.delete()
    assert not (root / "dataset" / "key").exists() and other.settings() == {}
    other.delete()
    assert root.is_dir() and list(root.iterdir()) == []
    other.delete()  # gone already
    assert tmp_path.is_dir()


def features(
    path: str, segments: list[Segments], extra: int = 0, dtype: str = "f4", complete: bool = True
) -> ImageFeatures:
    """Random features of some segments per level, and of further rows; as wide as the level's number says."""
    random = np.random.default_rng(len(path))
    rows = [random.random((len(s) + extra, 3 + level)).astype(dtype) for level, s in enumerate(segments)]
    return ImageFeatures(path, segments, rows, complete)


FEATURES = [
    features("/a path/with ümlaut.png", [tiles((97, 61)), patch_grid((97, 61), 4, 5)]),
    features("rotated copies", [grid((50, 40), 3), grid((50, 40), 2)], extra=7),
    features("a choice", [grid((50, 40), 1), from_boxes((50, 40), [[3, 4, 9, 30], [7, 7, 8, 8]])], complete=False),
    features("fewer rows than segments", [grid((50, 40), 3), grid((50, 40), 4)], extra=-5, complete=False),
    features("no boxes at the first level", [from_boxes((50, 40), []), grid((50, 40), 2)]),
    features("last", [grid((9, 8), 2), grid((9, 8), 1)]),
]


def assert_same_features(image: ImageFeatures, expected: ImageFeatures) -> None:
    assert (image.path, image.complete) == (expected.path, expected.complete)
    assert type(image.complete) is bool
    for one, other in zip(image.segments, expected.segments, strict=True):
        assert (one.size, one.shape) == (other.size, other.shape)
        np.testing.assert_array_equal(one.boxes, other.boxes)
    for rows, others in zip(image.features, expected.features, strict=True):
        assert rows.dtype == others.dtype
        np.testing.assert_array_equal(rows, others)


@pytest.mark.parametrize("split", [1, 2, len(FEATURES)])  # images per part
def test_round_trip_of_features(tmp_path: Path, split: int) -> None:
    parts = FeatureParts(tmp_path / "bank")
    for start in range(0, len(FEATURES), split):
        parts.append(FEATURES[start : start + split])
    again = FeatureParts(tmp_path / "bank")
    assert again.paths() == [image.path for image in FEATURES]
    for image, expected in zip(again, FEATURES, strict=True):
        assert_same_features(image, expected)


def test_features_keep_their_precision(tmp_path: Path) -> None:
    halves = [features("a", [grid((9, 8), 2)], dtype="f2"), features("bc", [grid((9, 8), 3)], dtype="f2")]
    FeatureParts(tmp_path).append(halves)
    for image, expected in zip(FeatureParts(tmp_path), halves, strict=True):
        assert_same_features(image, expected)


def test_more_than_ten_levels(tmp_path: Path) -> None:
    """The names of their arrays begin with those of the first ten."""
    image = features("many", [grid((40, 40), n) for n in range(1, 13)])
    FeatureParts(tmp_path).append([image, image])
    for again in FeatureParts(tmp_path):
        assert_same_features(again, image)


def test_no_features_are_no_part(tmp_path: Path) -> None:
    parts = FeatureParts(tmp_path / "bank")
    parts.append([])
    assert parts.paths() == [] and list(parts) == [] and not (tmp_path / "bank").exists()


def test_error_of_damaged_features(tmp_path: Path) -> None:
    parts = FeatureParts(tmp_path)
    parts.append(FEATURES)
    file = tmp_path / "part-000000.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    for read in (parts.paths, lambda: list(parts)):
        with pytest.raises(RunError, match=r"part-000000\.safetensors' is damaged .* overwrite=True"):
            read()


def test_a_changed_byte_of_features_is_noticed(tmp_path: Path) -> None:
    """They are mapped into memory, and compared with their checksum all the same."""
    parts = FeatureParts(tmp_path)
    parts.append(FEATURES)
    file = tmp_path / "part-000000.safetensors"
    content = bytearray(file.read_bytes())
    place = content.find(FEATURES[0].features[0].tobytes())
    assert place > 0, "arrays are stored as they are"
    content[place + 5] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match="the checksum of its arrays"):
        list(parts)


def test_features_are_mapped_and_read_only(tmp_path: Path) -> None:
    FeatureParts(tmp_path).append(FEATURES)
    for image in FeatureParts(tmp_path):
        for rows in image.features:
            base: Any = rows
            while isinstance(base.base, np.ndarray):
                base = base.base
            assert isinstance(base, np.memmap)
            assert not rows.flags.writeable


def test_levels_and_what_was_held_out_are_kept_apart(tmp_path: Path) -> None:
    run = RunStore.create(tmp_path / "run", {})
    assert run.levels() == {}
    for level in (0, 1, 10):
        scores = run.held_out(level)
        scores.add(record(f"level {level}", grid((8, 8), 2), level))
        scores.flush()
    run.save_levels({"mean0": np.arange(3.0)})
    run.save_levels({"mean0": np.arange(4.0), "scale0": np.ones(2)})
    again = RunStore(run.folder)
    assert [list(again.held_out(level).ids()) for level in (0, 1, 10)] == [["level 0"], ["level 1"], ["level 10"]]
    assert again.held_out(2).ids() == again.normals.ids() == again.scores.ids() == set()
    assert {name: array.tolist() for name, array in again.levels().items()} == {"mean0": [0, 1, 2, 3], "scale0": [1, 1]}
    (run.folder / "levels.safetensors").write_bytes(b"half")
    with pytest.raises(RunError, match=r"levels\.safetensors' is damaged"):
        again.levels()
