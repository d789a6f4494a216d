"""Find at how many angles the images of a bank are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fiftyone_segad.embedders.base import Embedder
from fiftyone_segad.embedders.factory import get_embedder
from fiftyone_segad.engine.job import Job, JobContext, JobImage, JobSpec
from fiftyone_segad.engine.methods import run_job
from fiftyone_segad.engine.passes import fit_levels
from fiftyone_segad.engine.rotations import find_rotations
from fiftyone_segad.storage.store import RunStore
from fiftyone_segad.utils.images import rotate

SIDE = 128

Parts = Callable[..., list[JobImage]]


def part(seed: int, angle: float) -> NDArray[np.uint8]:
    """A bar with a thread on one half of it, on a plain ground, at an angle."""
    random = np.random.default_rng(seed)
    pixels = np.full((SIDE, SIDE, 3), 210.0)
    pixels[54:74, 20:108] = 90
    pixels[50:78, 20:64:6] = 50
    pixels += random.normal(0, 3, (SIDE, SIDE, 1))
    return rotate(np.clip(pixels, 0, 255).astype(np.uint8), angle)


@pytest.fixture(scope="module")
def network() -> Iterator[Embedder]:
    with get_embedder("efficientnet", options={"input_size": 128}) as embedder:
        yield embedder


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """Write images of parts at given angles."""

    def write(angles: list[float]) -> list[JobImage]:
        paths = [tmp_path / f"{i}_{angle:.0f}.png" for i, angle in enumerate(angles)]
        for i, (path, angle) in enumerate(zip(paths, angles, strict=True)):
            Image.fromarray(part(i, angle)).save(path)
        return [JobImage(str(path), str(path)) for path in paths]

    return write


@pytest.fixture
def job_of(tmp_path: Path, network: Embedder) -> Callable[..., Job]:
    def make(
        normals: list[JobImage],
        rotations: int | None = None,
        segments: str | None = None,
        bank_size: int | None = None,
    ) -> Job:
        spec = JobSpec(normals[:1], normals, "reference", segments, rotations, bank_size)
        return Job(spec, JobContext(network, RunStore(tmp_path / "store"), workers=2))

    return make


def found(job: Job) -> int:
    return find_rotations(job, fit_levels(job, job.spec.normals))


ANY_ANGLE = np.random.default_rng(3).uniform(0, 360, 12).tolist()


def test_parts_at_any_angle_are_turned(parts: Parts, job_of: Callable[..., Job]) -> None:
    assert found(job_of(parts(ANY_ANGLE))) == 8


def test_parts_at_one_angle_are_not(parts: Parts, job_of: Callable[..., Job]) -> None:
    assert found(job_of(parts([0.0] * 12))) == 1


def test_what_was_asked_for_is_done(parts: Parts, job_of: Callable[..., Job]) -> None:
    assert found(job_of(parts(ANY_ANGLE), rotations=1)) == 1
    assert found(job_of(parts([0.0] * 12), rotations=3)) == 3


def test_few_images_and_other_segments_are_left_as_they_are(parts: Parts, job_of: Callable[..., Job]) -> None:
    assert found(job_of(parts(ANY_ANGLE[:3]))) == 1
    assert found(job_of(parts(ANY_ANGLE), segments="grid:4")) == 1


@pytest.mark.parametrize(("images", "copies"), [(50, 8), (100, 4), (150, 3), (399, 2), (400, 1), (5000, 1)])
def test_copies_are_as_many_as_make_enough(
    parts: Parts, job_of: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, images: int, copies: int
) -> None:
    monkeypatch.setattr("fiftyone_segad.engine.rotations.nearness_of_copies", lambda job, levels: 0.9)
    (image,) = parts([0.0])
    assert found(job_of([image] * images)) == copies


def test_copies_need_room_in_the_bank(parts: Parts, job_of: Callable[..., Job]) -> None:
    rows = 4 * 4  # of an image at stride 32
    assert found(job_of(parts(ANY_ANGLE), bank_size=9 * rows)) == 3  # 4 times as many are 36 copies of 12 images
    assert found(job_of(parts(ANY_ANGLE), bank_size=3 * rows)) == 1


def test_an_interrupted_run_goes_on_with_as_many(
    parts: Parts, job_of: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(parts(ANY_ANGLE))
    run_job(job)
    (image, *_) = job.store.bank
    assert len(image.features[0]) == 8 * len(image.segments[0]) and image.rotations == 8
    monkeypatch.setattr("fiftyone_segad.engine.rotations.nearness_of_copies", lambda job, levels: 1.0)
    assert found(job) == 8
