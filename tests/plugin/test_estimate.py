"""The estimate of a run: what it is made of, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import ColourEmbedder
from fiftyone_segad.errors import ImageError
from fiftyone_segad.plugin.estimate import Estimate, estimate_run, estimate_work


def paths(pictures: list[Path]) -> list[str]:
    return [str(path) for path in pictures]


def estimate(images: list[str], normals: list[str], **options: Any) -> Estimate:
    found = estimate_run(images, normals, options.pop("method", "reference"), "efficientnet", None, **options)
    assert found is not None
    return found


@pytest.mark.usefixtures("colour_embedder")
def test_it_grows_with_images_normals_and_rotations(pictures: list[Path]) -> None:
    images = paths(pictures)
    one = estimate(images[:2], images[:2])
    assert estimate(images[:2] * 10, []).bytes == 10 * estimate(images[:2], []).bytes
    assert estimate(images[:2], images[:2] * 10).seconds == pytest.approx(5.5 * one.seconds)
    turned = estimate(images[:2], images[:2], rotations=3)
    assert turned.seconds == pytest.approx(2 * one.seconds)
    assert turned.bytes > one.bytes


def test_the_trial_is_made_once(pictures: list[Path], colour_embedder: type[ColourEmbedder]) -> None:
    estimate(paths(pictures), [])
    calls = colour_embedder.calls
    assert estimate(paths(pictures)[:3], paths(pictures), method="unlabeled")
    assert colour_embedder.calls == calls


@pytest.mark.usefixtures("colour_embedder")
def test_disk_is_that_of_a_run(pictures: list[Path], dataset_of: Any) -> None:
    import fiftyone_segad as segad

    dataset = dataset_of(pictures)
    run = segad.compute_segment_anomalies(dataset, reference=dataset, embedder="efficientnet")
    used = sum(file.stat().st_size for file in Path(run.folder).rglob("*") if file.is_file())
    guessed = estimate(paths(pictures), paths(pictures)).bytes
    assert used / 4 < guessed < used * 4


@pytest.mark.usefixtures("colour_embedder")
def test_images_that_cannot_be_read_give_no_estimate(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert estimate_run([str(tmp_path / "broken.png")], [], "unlabeled", "efficientnet", None) is None


def test_work_grows_with_images_and_is_tried_once() -> None:
    done: list[str] = []

    def work(item: str) -> int:
        done.append(item)
        if item == "broken":
            raise ImageError("it cannot be read")
        return 1000

    def trial() -> tuple[list[str], Callable[[str], int]]:
        return ["broken", "good", "further"], work

    one = estimate_work("a key of this test", trial, 1, 2.0)
    assert one is not None
    assert one.bytes == 1000, "what cannot be used does not count"
    assert done == ["broken", "broken", "good"], "the first one twice, and no more than two"
    many = estimate_work("a key of this test", trial, 50, 2.0, fixed=3.0)
    assert many is not None
    assert len(done) == 3, "nothing is done again"
    assert many.bytes == 50_000
    assert many.seconds == pytest.approx(50 * one.seconds + 3)


def test_work_that_can_use_no_image_gives_no_estimate() -> None:
    def work(item: str) -> int:
        raise ImageError("it cannot be read")

    assert estimate_work("another key of this test", lambda: (["broken"], work), 10, 1.0) is None


@pytest.mark.parametrize(
    ("seconds", "size", "text"),
    [
        (0.2, 0, "about 1 s"),
        (0.2, 1000, "about 1 s and 0.1 MB on disk"),
        (240, 120_000_000, "about 4 min and 120.0 MB on disk"),
        (9000, 2_500_000_000, "about 2.5 h and 2.5 GB on disk"),
    ],
)
def test_in_words(seconds: float, size: int, text: str) -> None:
    assert str(Estimate(seconds, size)) == text
