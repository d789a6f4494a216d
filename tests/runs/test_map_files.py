"""Maps that other programs have written: which files are read, and what is kept of a map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from fiftyone_segad.errors import ImageError
from fiftyone_segad.runs.map_files import cells_of, find_map_files, read_map, record_of, reduce_map
from fiftyone_segad.segments.maps import anomaly_map

MAP = (np.arange(48).reshape(6, 8) / 4).astype(np.float32)
"""Values that 16-bit fractions hold exactly."""


class Tensor:
    """Stands for a tensor of PyTorch on another device."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def is_floating_point(self) -> bool:
        return True

    def float(self) -> Any:
        return np.asarray(self._values, np.float32)


@pytest.mark.parametrize("name", ["a.npy", "a.NPY", "a.npz", "a.tiff", "a.tif"])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_files_of_fractions(tmp_path: Path, name: str, kind: type) -> None:
    file, values = tmp_path / name, MAP.astype(kind)
    if file.suffix.lower() == ".npy":
        with file.open("wb") as opened:
            np.save(opened, values)
    elif file.suffix == ".npz":
        np.savez(file, pred_score=np.float32(0.5), anomaly_map=values)
    else:
        tifffile.imwrite(file, values)
    np.testing.assert_array_equal(read_map(file), MAP)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_grey_pictures(tmp_path: Path, kind: type) -> None:
    values = (MAP * 4).astype(kind)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_map(tmp_path / "a.png"), values)


@pytest.mark.parametrize("shape", [(6, 8), (1, 6, 8), (1, 1, 6, 8), (6, 8, 1)])
def test_arrays_and_tensors_with_axes_of_length_one(shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(read_map(MAP.reshape(shape)), MAP)
    np.testing.assert_array_equal(read_map(Tensor(MAP.reshape(shape))), MAP)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((2, 6, 8)), r"shape \[2, 6, 8\]"),
        (np.zeros(6), r"shape \[6\]"),
        (np.zeros((0, 8)), r"shape \[0, 8\]"),
        (np.full((2, 2), np.nan), "not finite"),
        (np.array([["a"]]), "must be height x width numbers"),
        (np.array([[None]]), "must be height x width numbers"),
    ],
)
def test_arrays_that_are_no_maps(values: Any, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        read_map(values)


def test_files_that_are_no_maps(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "colours.png")
    with pytest.raises(ImageError, match=r"colours.png' cannot be read: it is a picture in colours"):
        read_map(tmp_path / "colours.png")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ImageError, match=r"objects.npy' cannot be read.*allow_pickle=False"):
        read_map(tmp_path / "objects.npy")
    np.savez(tmp_path / "two.npz", first=MAP, second=MAP)
    with pytest.raises(ImageError, match=r"none of its arrays \['first', 'second'\] is called"):
        read_map(tmp_path / "two.npz")
    (tmp_path / "cut.tiff").write_bytes(b"II*")
    with pytest.raises(ImageError, match=r"cut.tiff' cannot be read"):
        read_map(tmp_path / "cut.tiff")


def test_files_of_fractions_come_before_pictures_of_them(tmp_path: Path) -> None:
    (tmp_path / "test/cut").mkdir(parents=True)
    for name in ("test/cut/000.png.npy", "test/cut/000.png", "._1.npy", "x.txt"):
        (tmp_path / name).write_bytes(b"")
    assert find_map_files(tmp_path) == {"test/cut/000": tmp_path / "test/cut/000.png.npy"}
    (tmp_path / "test/cut/000.png.npy").unlink()
    assert find_map_files(tmp_path) == {"test/cut/000": tmp_path / "test/cut/000.png"}
    (tmp_path / "test/cut/000.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no maps \(.npy, .npz, .tif, .tiff, .png\)"):
        find_map_files(tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        find_map_files(tmp_path / "absent")


@pytest.mark.parametrize("size", [(8, 6), (32, 24), (80, 60), (50, 41)])
def test_a_map_is_met_exactly_at_the_centres_of_its_cells(size: tuple[int, int]) -> None:
    record = record_of("a", MAP, size, 1.0)
    assert record.segments.overlap, "else all of its cells would be shown"
    at_centres = anomaly_map(record.segments, record.scores, (8, 6))
    tolerance = 0 if size != (50, 41) else 2.0  # centres are in half pixels; a step is 0.25 across and 2 down
    np.testing.assert_allclose(at_centres, MAP, atol=tolerance)
    assert record.scores.tolist() == MAP.ravel().tolist()


def test_a_map_as_fine_as_its_image_is_kept_to_the_pixel() -> None:
    values = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    assert reduce_map(values, (30, 20)) is values
    record = record_of("a", values, (30, 20), 1.0)
    np.testing.assert_array_equal(anomaly_map(record.segments, record.scores), values)


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((512, 1024), (1024, 512), (128, 256)),
        ((256, 256), (1000, 500), (128, 256)),
        ((64, 64), (1000, 500), (64, 64)),
        ((256, 256), (30, 20), (20, 30)),
    ],
)
def test_how_fine_a_map_is_kept(shape: tuple[int, int], size: tuple[int, int], expected: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    kept = reduce_map(values, size)
    assert kept.shape == expected
    assert kept.mean() == pytest.approx(values.mean(), rel=1e-3), "a cell is the mean of what it covers"


@pytest.mark.parametrize(("size", "rows", "columns"), [((5, 3), 3, 5), ((7, 7), 3, 2), ((1000, 30), 30, 256)])
def test_cells_cover_the_image_around_even_centres(size: tuple[int, int], rows: int, columns: int) -> None:
    cells = cells_of(size, rows, columns)
    for intervals, length, count in ((cells.columns, size[0], columns), (cells.rows, size[1], rows)):
        centres = intervals.mean(axis=1)
        assert np.abs(centres - (np.arange(count) + 0.5) * length / count).max() <= 0.5
        assert intervals[0, 0] == 0 and intervals[-1, 1] == length
        assert (intervals[1:, 0] <= intervals[:-1, 1]).all(), "there are no gaps"
