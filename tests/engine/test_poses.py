"""Parts that lie at any angle: laid straight where their angle can be told, and shown at several where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bolts import GROUND, bolt, red
from conftest import ColourEmbedder
from fiftyone_segad.embedders.base import Embedder
from fiftyone_segad.embedders.factory import get_embedder
from fiftyone_segad.engine.job import Job, JobContext, JobImage, JobSpec
from fiftyone_segad.engine.methods import run_job
from fiftyone_segad.engine.rotations import find_poses
from fiftyone_segad.segments.turned import TurnedSegments
from fiftyone_segad.storage.store import RunStore
from fiftyone_segad.utils.images import rotate

ANGLES = np.random.default_rng(3).uniform(0, 360, 12).tolist()

Draw = Callable[[float], NDArray[np.uint8]]


def plain_bolt(angle: float) -> NDArray[np.uint8]:
    """A bolt without its mark."""
    picture = bolt(angle)
    picture[red(picture)] = 70
    return picture


def disc(angle: float) -> NDArray[np.uint8]:
    """A round part with four slots, whose angle its outline does not tell."""
    picture = np.full((280, 280, 3), GROUND, np.uint8)
    cv2.circle(picture, (140, 140), 100, (70, 70, 70), -1)
    for x, y, radius in ((140, 80, 18), (200, 150, 12), (120, 190, 24), (85, 120, 8)):
        cv2.circle(picture, (x, y), radius, (30, 30, 30), -1)
        cv2.line(picture, (x, y), (x + 2 * radius, y + radius), (120, 120, 120), 4)
    outside = np.ones((280, 280), np.uint8)
    cv2.circle(outside, (140, 140), 101, 0, -1)
    turned = rotate(picture, angle)
    turned[outside > 0] = GROUND
    return turned


def two_pieces(angle: float) -> NDArray[np.uint8]:
    """A bolt and, beside it, a nut that lies with it."""
    picture = plain_bolt(angle)
    turn = np.deg2rad(angle)
    x, y = np.array([20, 60]) @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]] + (150, 140)
    cv2.circle(picture, (round(x), round(y)), 26, (70, 70, 70), -1)
    return picture


@pytest.fixture(scope="module")
def network() -> Iterator[Embedder]:
    with get_embedder("efficientnet", options={"input_size": 128}) as embedder:
        yield embedder


@pytest.fixture
def job_of(tmp_path: Path, network: Embedder) -> Callable[..., Job]:
    """Write noisy pictures, and make the job that compares the last of them with the others."""

    def make(
        draw: Draw,
        angles: list[float],
        align: bool | None = None,
        rotations: int | None = None,
        embedder: Embedder = network,
    ) -> Job:
        paths = [tmp_path / f"{i}.png" for i in range(len(angles))]
        for i, (path, angle) in enumerate(zip(paths, angles, strict=True)):
            picture = draw(angle)
            noisy = picture + np.random.default_rng(i).normal(0, 3, (*picture.shape[:2], 1))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
        images = [JobImage(str(path), str(path)) for path in paths]
        spec = JobSpec(images[-1:], images[:-1], "reference", None, rotations, align=align)
        return Job(spec, JobContext(embedder, RunStore(tmp_path / "store"), workers=2))

    return make


def found(job: Job) -> tuple[bool, int]:
    levels, rotations = find_poses(job)
    return levels.aligned, rotations


def test_parts_whose_angle_can_be_told_are_laid_straight(job_of: Callable[..., Job]) -> None:
    assert found(job_of(plain_bolt, ANGLES)) == (True, 1)


def test_round_parts_are_shown_at_several_angles(job_of: Callable[..., Job]) -> None:
    assert found(job_of(disc, ANGLES)) == (False, 8)


def test_parts_at_one_angle_stay_as_they_are(job_of: Callable[..., Job]) -> None:
    assert found(job_of(plain_bolt, [20.0] * 12)) == (False, 1)


@pytest.mark.parametrize(("draw", "is_aligned"), [(plain_bolt, True), (disc, False)])
def test_the_default_network_tells_for_other_embedders(
    job_of: Callable[..., Job], draw: Draw, is_aligned: bool
) -> None:
    """They are not shown at several angles: that costs too much."""
    colours: Any = ColourEmbedder()
    assert found(job_of(draw, ANGLES, embedder=colours)) == (is_aligned, 1)


@pytest.mark.parametrize(
    ("align", "rotations", "expected"),
    [
        (False, None, (False, 8)),
        (None, 1, (False, 1)),
        (None, 4, (False, 4)),
        (True, 1, (True, 1)),
        (True, 2, (True, 2)),
    ],
)
def test_what_was_asked_for_is_done(
    job_of: Callable[..., Job], align: bool | None, rotations: int | None, expected: tuple[bool, int]
) -> None:
    assert found(job_of(plain_bolt, ANGLES, align, rotations)) == expected


def test_parts_at_one_angle_are_laid_straight_if_asked_for(job_of: Callable[..., Job]) -> None:
    assert found(job_of(plain_bolt, [20.0] * 12, align=True)) == (True, 1)


def test_all_normal_images_must_show_a_part(job_of: Callable[..., Job]) -> None:
    job = job_of(plain_bolt, ANGLES)
    Image.new("RGB", (300, 280), (GROUND,) * 3).save(job.spec.normals[4].path)
    assert found(job)[0] is False


def test_what_is_not_of_one_piece_stays_whole(job_of: Callable[..., Job]) -> None:
    """The nut would no longer be inspected."""
    assert found(job_of(two_pieces, ANGLES)) == (False, 8)


def test_a_run_that_was_interrupted_goes_on_as_it_began(
    job_of: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(plain_bolt, ANGLES)
    run_job(job)
    monkeypatch.setattr("fiftyone_segad.engine.rotations.nearness_of_copies", lambda job, levels: 1.0)
    assert found(job) == (True, 1)


def test_one_that_began_with_copies_does_not_lay_parts_straight(
    job_of: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(plain_bolt, ANGLES, align=False)
    run_job(job)
    again = Job(JobSpec(job.spec.images, job.spec.normals, "reference", None, None, align=None), job.context)
    assert found(again) == (False, 8)


def test_images_without_a_part_are_scored_as_they_are_and_told(job_of: Callable[..., Job]) -> None:
    job = job_of(plain_bolt, ANGLES)
    (image,) = job.spec.images
    Image.new("RGB", (300, 280), (GROUND,) * 3).save(image.path)
    report = run_job(job)
    (record,) = job.store.scores
    assert not isinstance(record.segments, TurnedSegments)
    assert record.image_score > max(normal.image_score for normal in job.store.normals)
    assert any("1 image no part" in warning and image.path in warning for warning in report.warnings)


def test_all_others_are_compared_on_the_straight_part(job_of: Callable[..., Job]) -> None:
    job = job_of(plain_bolt, ANGLES)
    report = run_job(job)
    for record in (*job.store.scores, *job.store.normals):
        assert isinstance(record.segments, TurnedSegments) and record.segments.size == (300, 280)
    assert not any("no part" in warning for warning in report.warnings)
