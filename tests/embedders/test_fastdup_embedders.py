"""fastdup's model in memory, against the real package in its own process."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from conftest import needs_fastdup, shared
from fiftyone_segad.embedders.base import Embedder
from fiftyone_segad.embedders.factory import get_embedder, resolve_name
from fiftyone_segad.embedders.fastdup import FEATURES, FastdupEmbedder, nearest_indices
from fiftyone_segad.errors import MissingDependencyError, SegadError
from fiftyone_segad.scoring.fastdup_rule import find_outliers
from fiftyone_segad.segments.boxes import Segments, from_boxes, grid, tiles
from fiftyone_segad.utils.images import read_image
from oracles import fastdup_native
from oracles.fastdup_native import FastdupNativeEmbedder

pytestmark = needs_fastdup

SIDES = [12, 17, 31, 64, 73, 100, 111, 112, 146, 223, 224, 225, 300, 333, 448]
"""Pixels, below, at and above the 224 of the model's input; 448 is twice that, 112 half."""


def noise(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(4).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(width: int, height: int) -> NDArray[np.uint8]:
    coarse = Image.fromarray(noise(width // 40, height // 40))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def boxes_of(widths: list[int], heights: list[int]) -> Segments:
    """One box of each width and height, all over a picture of 640 x 600 px."""
    random = np.random.default_rng(8)
    boxes = []
    for width, height in zip(widths, heights, strict=True):
        x, y = int(random.integers(0, 640 - width + 1)), int(random.integers(0, 600 - height + 1))
        boxes.append((x, y, x + width, y + height))
    return from_boxes((640, 600), boxes)


@pytest.fixture(scope="module")
def embedder() -> Iterator[Embedder]:
    with get_embedder("fastdup") as model:
        yield model


@pytest.fixture(scope="module")
def native() -> Iterator[FastdupNativeEmbedder]:
    with FastdupNativeEmbedder() as model:
        assert isinstance(model, FastdupNativeEmbedder)
        yield model


class FakeWorker:
    """Stands for the process of the real fastdup and answers with one line."""

    answer = '{"result": "ready"}\n'
    started: dict[str, Any]

    def __init__(self, command: list[str], **options: Any) -> None:
        type(self).started = options
        self.stdin, self.stdout = io.StringIO(), io.StringIO(self.answer)

    def poll(self) -> int:
        return 3

    def wait(self) -> int:
        return 3


@pytest.mark.parametrize("picture", [noise, smooth])
@pytest.mark.parametrize(
    "segments",
    [
        pytest.param(boxes_of(SIDES, SIDES), id="squares"),
        pytest.param(boxes_of(SIDES, SIDES[7:] + SIDES[:7]), id="wide and tall"),
    ],
)
def test_features_equal_those_of_the_package(
    embedder: Embedder,
    native: FastdupNativeEmbedder,
    picture: Callable[[int, int], NDArray[np.uint8]],
    segments: Segments,
) -> None:
    image = picture(640, 600)
    features, expected = embedder.embed(image, segments), native.embed(image, segments)
    assert features.dtype == np.float32 and features.shape == (len(SIDES), FEATURES)
    assert np.ptp(expected, axis=0).max() > 0.1  # the segments differ
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_features_of_the_smallest_tiles(embedder: Embedder, native: FastdupNativeEmbedder) -> None:
    image, segments = noise(20, 20), tiles((20, 20))
    np.testing.assert_allclose(embedder.embed(image, segments), native.embed(image, segments), atol=1e-5)


@pytest.mark.parametrize(("name", "n"), [("007", 5), ("016", 6), ("024", 7)])
def test_outliers_equal_those_of_the_package(
    embedder: Embedder, native: FastdupNativeEmbedder, name: str, n: int
) -> None:
    image = read_image(str(shared("blog") / f"{name}.png"))
    segments = grid((image.shape[1], image.shape[0]), n)
    expected, outliers = native.find_outliers(image, segments), find_outliers(embedder.embed(image, segments))
    assert len(expected.indices) > 0
    assert outliers.indices.tolist() == expected.indices.tolist()
    np.testing.assert_allclose(outliers.similarities, expected.similarities, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3, 16, 100])
def test_batch_size_does_not_change_features(embedder: Embedder, batch_size: int) -> None:
    image, segments = smooth(640, 600), boxes_of(SIDES, SIDES)
    with get_embedder("fastdup", batch_size) as other:
        np.testing.assert_allclose(other.embed(image, segments), embedder.embed(image, segments), atol=1e-6)


def test_order_and_pixels_of_segments(embedder: Embedder) -> None:
    image, segments = smooth(640, 600), boxes_of(SIDES, SIDES)
    together = embedder.embed(image, segments)
    for index in (0, 7, 14):
        x0, y0, x1, y1 = segments.boxes[index]
        cut = np.ascontiguousarray(image[y0:y1, x0:x1])
        alone = embedder.embed(cut, from_boxes((x1 - x0, y1 - y0), [[0, 0, x1 - x0, y1 - y0]]))
        np.testing.assert_allclose(alone[0], together[index], atol=1e-6)


def test_no_segments(embedder: Embedder, native: FastdupNativeEmbedder) -> None:
    nothing = from_boxes((640, 600), [])
    assert embedder.embed(noise(640, 600), nothing).shape == (0, FEATURES)
    assert native.embed(noise(640, 600), nothing).shape == (0, FEATURES)
    assert len(native.find_outliers(noise(640, 600), grid((640, 600), 1)).indices) == 0


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        pytest.param(224, list(range(224)), id="unchanged"),
        pytest.param(112, [i // 2 for i in range(224)], id="each pixel twice"),
        pytest.param(448, [2 * i + 1 for i in range(224)], id="every second pixel, from the second on"),
        pytest.param(1, [0] * 224, id="one pixel"),
    ],
)
def test_sampled_pixels(length: int, expected: list[int]) -> None:
    assert nearest_indices(length).tolist() == expected


def test_the_package_is_never_imported() -> None:
    code = (
        "import sys, numpy as np; from fiftyone_segad.embedders.factory import get_embedder; "
        "from fiftyone_segad.segments.boxes import grid; "
        "get_embedder('fastdup').embed(np.zeros((40, 40, 3), np.uint8), grid((40, 40), 2)); "
        "print(sorted({'fastdup', 'fiftyone', 'sentry_sdk'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_no_files_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a temporary file was asked for")

    for name in ("mkdtemp", "mkstemp", "TemporaryDirectory", "NamedTemporaryFile", "TemporaryFile"):
        monkeypatch.setattr(tempfile, name, refuse)
    for variable in ("TMPDIR", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with get_embedder("fastdup") as model:
        model.embed(noise(64, 64), grid((64, 64), 2))
    assert list(tmp_path.iterdir()) == []


def test_native_leaves_no_files(native: FastdupNativeEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    answer = [[0.0] * FEATURES]
    monkeypatch.setattr(native, "_ask", lambda job, folder: answer * len(list(Path(folder, "segments").iterdir())))
    assert native.embed(noise(64, 64), grid((64, 64), 2)).shape == (4, FEATURES)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(native, "_ask", lambda job, folder: answer)
    with pytest.raises(SegadError, match="features for 1 of 4 segments"):
        native.embed(noise(64, 64), grid((64, 64), 2))
    assert list(tmp_path.iterdir()) == []


def test_worker_is_started_without_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SENTRY_OPT_OUT", raising=False)
    monkeypatch.setenv("KEPT", "yes")
    monkeypatch.setattr(fastdup_native.subprocess, "Popen", FakeWorker)
    FastdupNativeEmbedder().close()
    assert FakeWorker.started["env"]["SENTRY_OPT_OUT"] == "1"
    assert FakeWorker.started["env"]["KEPT"] == "yes"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ('{"error": "ImportError: No module named OpenSSL"}\n', r"No module named OpenSSL.*pip install pyOpenSSL"),
        pytest.param("", "ended with code 3", id="the process ended"),
    ],
)
def test_error_if_the_package_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, answer: str, message: str) -> None:
    monkeypatch.setattr(fastdup_native.subprocess, "Popen", FakeWorker)
    monkeypatch.setattr(FakeWorker, "answer", answer)
    with pytest.raises(MissingDependencyError, match=message):
        FastdupNativeEmbedder()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ('{"error": "RuntimeError: no images"}\n', "fastdup failed: RuntimeError: no images"),
        pytest.param("", "fastdup failed: its process ended with code 3", id="the process ended"),
    ],
)
def test_error_of_the_worker(monkeypatch: pytest.MonkeyPatch, answer: str, message: str) -> None:
    monkeypatch.setattr(fastdup_native.subprocess, "Popen", FakeWorker)
    monkeypatch.setattr(FakeWorker, "answer", FakeWorker.answer + answer)
    with pytest.raises(SegadError, match=message):
        FastdupNativeEmbedder().embed(noise(64, 64), grid((64, 64), 2))


@pytest.mark.parametrize("make", [FastdupEmbedder, FastdupNativeEmbedder])
def test_error_if_fastdup_is_not_installed(monkeypatch: pytest.MonkeyPatch, make: type[Embedder]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install --no-deps fastdup==2\.54") as caught:
        make()
    assert isinstance(caught.value, ImportError)


def test_error_if_the_model_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "FASTDUP_VERSION").write_text("3.0\n")
    monkeypatch.setattr("fiftyone_segad.embedders.fastdup.fastdup_folder", lambda: tmp_path)
    with pytest.raises(MissingDependencyError, match=r"installed fastdup 3\.0 has no .*\.ort.*pip install"):
        FastdupEmbedder()


def test_names() -> None:
    assert resolve_name("auto", "within_image") == "fastdup"
    with get_embedder("auto", method="within_image") as model:
        assert isinstance(model, FastdupEmbedder) and model.identity.startswith("fastdup-2.54")
    with pytest.raises(ValueError, match="embedder='resnet' is not known"):
        get_embedder("resnet")
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        get_embedder("auto", 0)
