"""What an inspector refuses, and the remedy that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

import banks
import fiftyone_segad as segad
from fiftyone_segad.segments.boxes import from_relative

pytestmark = pytest.mark.usefixtures("colour_embedder")


def make_bank(dataset: fo.Dataset, file: Path, normals: int = 4, **options: Any) -> Path:
    segad.compute_segment_anomalies(
        dataset.skip(4), reference=dataset.limit(normals), **{"threshold": "fpr:0.3", **options}
    )
    return segad.save_bank(dataset, "segad", file)


@pytest.fixture
def file(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path) -> Path:
    return make_bank(dataset_of(pictures), tmp_path / "bank")


@pytest.fixture
def inspector(file: Path) -> Iterator[segad.Inspector]:
    with segad.load_bank(file) as made:
        yield made


def test_images_that_cannot_be_scored(inspector: segad.Inspector, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(segad.ImageError, match=r"broken\.png' is not an image"):
        inspector(broken)
    with pytest.raises(segad.ImageError, match="the file is not an image"):
        inspector(b"no image")
    with pytest.raises(segad.ImageError, match="No such image file"):
        inspector(tmp_path / "absent.png")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros(8, np.uint8),
        np.zeros((8, 8), bool),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_arrays_that_are_no_image(inspector: segad.Inspector, array: Any) -> None:
    with pytest.raises(ValueError, match=r"give uint8 or uint16 of \[height, width\]"):
        inspector(array)


@pytest.mark.parametrize("threshold", ["alarms:3", "quantile:0.9", "f1"])
def test_thresholds_that_need_scored_images(inspector: segad.Inspector, threshold: str) -> None:
    before = inspector.thresholds
    with pytest.raises(ValueError, match="needs scored images, of which a bank has none"):
        inspector.set_threshold(threshold)
    with pytest.raises(ValueError, match="is not a threshold"):
        inspector.set_threshold("often")
    assert inspector.thresholds == before


def test_a_network_by_name_needs_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    banks.make_bank(embedder="torchhub:someone/code:model").write(tmp_path / "bank")

    def loaded(*args: Any) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr("fiftyone_segad.engine.inspector.get_embedder", loaded)
    with pytest.raises(ValueError, match="code from anywhere; pass embedder='torchhub:someone/code:model'"):
        segad.load_bank(tmp_path / "bank")
    with pytest.raises(AssertionError, match="it was loaded"):
        segad.load_bank(tmp_path / "bank", embedder="torchhub:someone/code:model")


def test_files_that_are_no_bank_here(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        segad.load_bank(tmp_path / "absent")
    (tmp_path / "cut").write_bytes(file.read_bytes()[:200])
    with pytest.raises(segad.BankError, match="cut"):
        segad.load_bank(tmp_path / "cut")
    monkeypatch.setattr("conftest.ColourEmbedder.identity", "colour-2")
    with pytest.raises(segad.BankError, match=r"'colour-1', which is now 'colour-2'; install that one, or save"):
        segad.load_bank(file)


def thirds(size: tuple[int, int]) -> Any:
    return from_relative(size, [[i / 3, 0.1, 0.3, 0.8] for i in range(3)])


def test_segments_from_a_function_are_passed_again(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path, file: Path
) -> None:
    dataset = dataset_of(pictures)
    bank = make_bank(dataset, tmp_path / "thirds", segments=thirds)
    with pytest.raises(ValueError, match=r"thirds', a function or a field.*as segments="):
        segad.load_bank(bank)
    with segad.load_bank(bank, segments=thirds) as inspector:
        assert inspector(pictures[-1]).score == dataset.last().segad_score
    with pytest.raises(ValueError, match="the bank has its own, None; leave segments out"):
        segad.load_bank(file, segments=thirds)


def test_the_only_image_of_a_bank(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path) -> None:
    dataset = dataset_of(pictures)
    with segad.load_bank(make_bank(dataset, tmp_path / "one", normals=1, threshold=0.5)) as inspector:
        with pytest.raises(segad.ImageError, match="only image of the bank and cannot be compared with itself"):
            inspector(pictures[0])
        assert inspector(pictures[5]).score == dataset.last().segad_score
        assert inspector.false_alarm_share is None
        with pytest.raises(ValueError, match="needs normal images"):
            inspector.set_threshold("fpr:0.1")
