"""Image quality: figures against values derived by hand, fields that can be removed, images that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.curation.quality import modified_z, odd_sizes
from fiftyone_segad.utils.exposure import DARK, measure
from plugin_calls import form, run

NAMES = ("blur", "brightness", "contrast", "dark", "odd_size", "error")


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


def test_figures_of_an_image_in_two_halves() -> None:
    """Left half 0, right half 200: mean 100, deviation 100, half of it dark."""
    values = np.zeros((20, 40))
    values[:, 20:] = 200
    exposure = measure(grey(values))
    assert (exposure.size, exposure.brightness, exposure.contrast, exposure.dark) == ((40, 20), 100, 100, 0.5)
    # The Laplacian is 200 and -200 on the columns beside the edge, 0 elsewhere: its variance 2/40 * 200^2
    assert exposure.blur == pytest.approx(2 / 40 * 200**2)


@pytest.mark.parametrize(("value", "share"), [(DARK - 1, 1.0), (DARK, 0.0)])
def test_dark_begins_below_the_limit(value: int, share: float) -> None:
    assert measure(grey(np.full((8, 8), value))).dark == share


def test_blurring_lowers_blur_and_darkening_brightness() -> None:
    picture = np.random.default_rng(0).integers(60, 200, (64, 64, 3), dtype=np.uint8)
    usual = measure(picture)
    assert measure(cv2.GaussianBlur(picture, (0, 0), 2)).blur < usual.blur / 10
    dim = measure((picture // 4).astype(np.uint8))
    assert dim.brightness < usual.brightness / 3 and dim.dark > usual.dark


def test_modified_z() -> None:
    """Median 3, median absolute deviation 1: the last value is 97 of them away."""
    assert modified_z([1, 2, 3, 4, 100])[-1] == pytest.approx(0.6745 * 97)
    np.testing.assert_array_equal(modified_z([5, 5, 5]), 0)
    # More than half are equal: the mean absolute deviation (1) is the scale
    assert modified_z([0, 0, 0, 0, 5])[-1] == pytest.approx(5 / np.sqrt(np.pi / 2))
    assert len(modified_z([])) == 0


@pytest.mark.parametrize(
    ("sizes", "odd"),
    [
        ([(10, 10)] * 3 + [(10, 11)], [3]),  # one common size
        ([(10, 10)] * 2 + [(20, 20)] * 2, [2, 3]),  # exactly half of one size
        ([(100 + i, 50 + i) for i in range(9)], []),  # each of its own size, all alike
        ([(100 + i, 50 + i) for i in range(9)] + [(400, 200)], [9]),  # larger
        ([(100 + i, 50 + i) for i in range(9)] + [(50, 100)], [9]),  # turned
        ([], []),
    ],
)
def test_odd_sizes(sizes: list[tuple[int, int]], odd: list[int]) -> None:
    assert np.flatnonzero(odd_sizes(sizes)).tolist() == odd


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path) -> fo.Dataset:
    """Six pictures; the first blurred, the second of another size, the last damaged."""
    with Image.open(pictures[0]) as image:
        Image.fromarray(cv2.GaussianBlur(np.asarray(image), (0, 0), 5)).save(pictures[0])
    with Image.open(pictures[1]) as image:
        image.resize((50, 40)).save(pictures[1])
    pictures[5].write_bytes(b"not an image")
    return dataset_of(pictures)


def test_fields_and_order(dataset: fo.Dataset) -> None:
    before = set(dataset.get_field_schema())
    view = segad.image_quality(dataset, tag="look")
    assert set(dataset.get_field_schema()) - before == {f"quality_{name}" for name in NAMES}
    ids = dataset.values("id")
    assert view.values("id")[:2] == [ids[5], ids[0]], "what cannot be read is first, then the most blurred"
    assert len(view) == 6
    assert dataset.values("quality_odd_size") == [False, True, False, False, False, None]
    assert "not an image" in dataset[ids[5]].quality_error
    assert dataset[ids[5]].quality_blur is None
    assert dataset.match_tags("look").values("id") == [ids[1], ids[5]]
    assert all(dataset.get_field(f"quality_{name}").description for name in NAMES)


def test_it_is_removed_without_trace(dataset: fo.Dataset) -> None:
    dataset.limit(1).tag_samples("mine")
    schema, tags = set(dataset.get_field_schema()), dataset.values("tags")
    segad.image_quality(dataset, key="q", tag="look")
    segad.image_quality(dataset.limit(2), key="q")  # replaces it, with its tag
    assert dataset.exists("q_blur").count() == 2
    assert dataset.values("tags") == tags
    assert segad.list_curations(dataset) == ["q"]
    segad.delete_curation(dataset, "q")
    assert set(dataset.get_field_schema()) == schema
    assert dataset.list_runs() == []
    with pytest.raises(ValueError, match="no curation 'q'"):
        segad.delete_curation(dataset, "q")


def test_what_belongs_to_others_stays(dataset: fo.Dataset) -> None:
    dataset.set_values("quality_blur", [1.0] * 6)
    dataset.limit(1).tag_samples("mine")
    with pytest.raises(ValueError, match=r"quality_blur.*another key"):
        segad.image_quality(dataset)
    with pytest.raises(ValueError, match="tag='mine' is in use"):
        segad.image_quality(dataset, key="q", tag="mine")
    with pytest.raises(ValueError, match="key='a b'"):
        segad.image_quality(dataset, key="a b")
    with pytest.raises(ValueError, match="num_workers"):
        segad.image_quality(dataset, key="q", num_workers=0)
    assert dataset.list_runs() == []
    assert dataset.values("quality_blur") == [1.0] * 6


def test_operator(dataset: fo.Dataset) -> None:
    result = run("image_quality", dataset)
    assert (result["measured"], result["odd"], result["skipped"]) == (5, 1, 1)
    assert "5.png" in result["messages"]
    assert not form("image_quality", dataset)["key"]["invalid"], "its own fields may be replaced"
    dataset.set_values("q_blur", [1.0] * 6)
    assert "another key" in form("image_quality", dataset, key="q")["key"]["error_message"]
    assert run("delete_curation", dataset, key="quality") == {"deleted": "quality"}
    assert "no_curations" in form("delete_curation", dataset)
