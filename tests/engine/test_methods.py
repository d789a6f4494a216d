"""The methods with a real network on small images: what they find, and what they say of poor input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from conftest import ColourEmbedder
from fiftyone_segad.embedders.base import Embedder, Level, Patches
from fiftyone_segad.embedders.factory import get_embedder
from fiftyone_segad.engine import methods, passes, unlabeled
from fiftyone_segad.engine.job import Job, JobContext, JobImage, JobSpec
from fiftyone_segad.engine.methods import run_job
from fiftyone_segad.errors import SegadError
from fiftyone_segad.segments.boxes import grid
from fiftyone_segad.segments.maps import anomaly_map
from fiftyone_segad.storage.store import RunStore

SIDE = 96
DENT = (slice(20, 44), slice(50, 74))


def striped(seed: int) -> NDArray[np.uint8]:
    """A product: stripes with noise, somewhat brighter or darker each time."""
    random = np.random.default_rng(seed)
    stripes = 120 + 40 * np.sin(np.arange(SIDE) / 3 + random.uniform(0, 0.5))
    pixels = stripes[None, :, None] + random.normal(0, 6, (SIDE, SIDE, 1)) + random.uniform(-8, 8)
    return np.clip(np.repeat(pixels, 3, axis=2), 0, 255).astype(np.uint8)


def dented(seed: int) -> NDArray[np.uint8]:
    pixels = striped(seed)
    pixels[DENT] = np.random.default_rng(seed).integers(0, 255, (24, 24, 1))
    return pixels


@pytest.fixture(scope="module")
def network() -> Any:
    with get_embedder("efficientnet", options={"input_size": 128}) as embedder:
        yield embedder


class TwoLevels(ColourEmbedder):
    """A stand-in with two levels, the finer one reduced to components, where the network is not the point."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = (Level("fine", components=4, positional=True), Level("coarse"))

    def patches(self, image: NDArray[np.uint8]) -> list[Patches]:
        return [Patches(cells, self.embed(image, cells)) for cells in (grid((SIDE, SIDE), 8), grid((SIDE, SIDE), 4))]


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., list[JobImage]]:
    def save_images(images: list[NDArray[np.uint8]], prefix: str, ids: bool = True) -> list[JobImage]:
        paths = [str(tmp_path / f"{prefix}{index}.png") for index in range(len(images))]
        for path, pixels in zip(paths, images, strict=True):
            Image.fromarray(pixels).save(path)
        return [JobImage(f"{prefix}{i}" if ids else path, path) for i, path in enumerate(paths)]

    return save_images


@pytest.fixture
def make(tmp_path: Path, network: Embedder) -> Callable[..., Job]:
    def make_job(
        images: list[JobImage],
        normals: list[JobImage],
        name: str = "run",
        on_progress: Callable[[int], None] = lambda count: None,
        embedder: Embedder = network,
        **changed: Any,
    ) -> Job:
        spec = JobSpec(images, normals, "reference" if normals else "unlabeled", None, **changed)
        store = RunStore(tmp_path / "stores" / name)
        return Job(spec, JobContext(embedder, store, workers=2, on_progress=on_progress))

    return make_job


def image_scores(job: Job) -> dict[str, float]:
    return {record.id: record.image_score for record in job.store.scores}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_normals_are_enough_to_find_a_dent(
    make: Callable[..., Job], save: Callable[..., list[JobImage]], count: int
) -> None:
    normals = save([striped(i) for i in range(count)], "normal", ids=False)
    images = save([striped(50), dented(51), striped(52)], "image")
    job = make(images, normals)
    run_job(job)
    scores = image_scores(job)
    assert max(scores, key=lambda id: scores[id]) == "image1"
    (record,) = [record for record in job.store.scores if record.id == "image1"]
    hottest = np.unravel_index(anomaly_map(record.segments, record.scores).argmax(), (SIDE, SIDE))
    assert DENT[0].start - 8 <= hottest[0] < DENT[0].stop + 8 and DENT[1].start - 8 <= hottest[1] < DENT[1].stop + 8


def test_scores_are_on_the_scale_of_normals(make: Callable[..., Job], save: Callable[..., list[JobImage]]) -> None:
    """A usual normal image peaks at about 1, whatever the levels are."""
    job = make(save([striped(50)], "image"), save([striped(i) for i in range(9)], "normal", ids=False))
    run_job(job)
    peaks = [record.image_score for record in job.store.normals]
    assert len(peaks) == 9 and 0.5 < np.median(peaks) < 1.2
    assert abs(np.mean([record.scores.mean() for record in job.store.normals])) < 0.2


def test_unlabeled_finds_the_rare_one(make: Callable[..., Job], save: Callable[..., list[JobImage]]) -> None:
    images = save([*(striped(i) for i in range(11)), dented(11)], "image")
    job = make(images, [])
    run_job(job)
    scores = image_scores(job)
    assert len(scores) == 12 and max(scores, key=lambda id: scores[id]) == "image11"
    assert job.report.warnings == [] and not job.store.normals.ids()


def test_unlabeled_with_a_pool_scores_the_others_too(
    make: Callable[..., Job], save: Callable[..., list[JobImage]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (methods, unlabeled):
        monkeypatch.setattr(module, "POOL", 6)
    images = save([*(striped(i) for i in range(11)), dented(11)], "image")
    images.append(JobImage("again", images[11].path))
    job = make(images, [])
    run_job(job)
    scores = image_scores(job)
    assert len(scores) == 13 and scores["again"] == scores["image11"] == max(scores.values())
    assert "6 of the 12 images" in job.report.warnings[0]


def test_progress_of_unlabeled(
    make: Callable[..., Job], save: Callable[..., list[JobImage]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (methods, unlabeled):
        monkeypatch.setattr(module, "POOL", 6)
    made: list[int] = []
    job = make(save([striped(i) for i in range(9)], "image"), [], on_progress=made.append, embedder=TwoLevels())
    run_job(job)
    assert sum(made) == methods.steps(job) == 6 + 6 + 9  # reading the pool, scoring it, and all images


def test_unlabeled_says_when_images_are_unlike(make: Callable[..., Job], save: Callable[..., list[JobImage]]) -> None:
    random = np.random.default_rng(0)
    unlike = []
    for index in range(10):  # noise of another grain, colour and contrast each time
        grain = 2 + 3 * index
        coarse = random.integers(0, 255, (SIDE // grain + 1, SIDE // grain + 1, 3))
        pixels = np.kron(coarse, np.ones((grain, grain, 1)))[:SIDE, :SIDE] * random.uniform(0.2, 1, 3)
        unlike.append(pixels.astype(np.uint8))
    job = make(save(unlike, "image"), [])
    run_job(job)
    assert any("look unlike each other" in warning for warning in job.report.warnings)


def test_unlabeled_needs_some_images(make: Callable[..., Job], save: Callable[..., list[JobImage]]) -> None:
    images = save([striped(i) for i in range(5)], "image")
    for image in images[:2]:
        Path(image.path).write_bytes(b"broken")
    with pytest.raises(SegadError, match=r"at least 4 that can be used, got 3.*image0\.png"):
        run_job(make(images, []))


def test_poor_images_are_named_or_scored_but_never_zeroed(
    make: Callable[..., Job], save: Callable[..., list[JobImage]]
) -> None:
    flat = np.full((SIDE, SIDE, 3), 128, np.uint8)
    tiny, slim = np.zeros((9, 9, 3), np.uint8), striped(3)[:, :20]
    images = save([flat, tiny, slim, striped(4)], "image")
    job = make(images, save([striped(i) for i in range(5, 9)], "normal", ids=False))
    run_job(job)
    assert [entry["id"] for entry in job.report.skipped] == ["image1"]
    assert "9 x 9 px is too small" in job.report.skipped[0]["reason"]
    scores = image_scores(job)
    assert set(scores) == {"image0", "image2", "image3"} and all(np.isfinite(list(scores.values())))
    assert scores["image0"] > scores["image3"]


def test_constant_normals(make: Callable[..., Job], save: Callable[..., list[JobImage]]) -> None:
    flat = [np.full((SIDE, SIDE, 3), grey, np.uint8) for grey in (100, 101, 102)]
    job = make(save([flat[0], dented(1)], "image"), save(flat, "normal", ids=False))
    run_job(job)
    scores = image_scores(job)
    assert np.isfinite(list(scores.values())).all() and scores["image1"] > scores["image0"]


def test_a_bounded_bank_finds_the_dent_too(make: Callable[..., Job], save: Callable[..., list[JobImage]]) -> None:
    normals = save([striped(i) for i in range(8)], "normal", ids=False)
    images = save([striped(50), dented(51)], "image")
    job = make(images, normals, bank_size=40)
    run_job(job)
    scores = image_scores(job)
    assert scores["image1"] > 2 * scores["image0"]


def test_normals_beyond_the_calibrating_ones_are_thinned(
    make: Callable[..., Job], save: Callable[..., list[JobImage]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "CALIBRATION_IMAGES", 4)
    normals = save([striped(i) for i in range(10)], "normal", ids=False)
    job = make([*normals, *save([dented(51)], "image")], normals, bank_size=100)
    run_job(job)
    stored = list(job.store.bank)
    assert sum(image.complete for image in stored) == 4 == len(job.store.normals.ids())
    assert {len(image.features[0]) for image in stored if not image.complete} == {40}
    scores = image_scores(job)
    assert len(scores) == 11 and max(scores, key=lambda id: scores[id]) == "image0"
    assert min(scores.values()) > 0  # none was compared with itself


def test_rotations_make_turned_parts_normal(make: Callable[..., Job], save: Callable[..., list[JobImage]]) -> None:
    normals = save([striped(i) for i in range(6)], "normal", ids=False)
    images = save([np.ascontiguousarray(np.rot90(striped(50))), dented(51)], "image")
    upright, turned = make(images, normals, "upright"), make(images, normals, "turned", rotations=4)
    for job in (upright, turned):
        run_job(job)
    assert image_scores(turned)["image0"] < 0.5 * image_scores(upright)["image0"]
    assert image_scores(turned)["image1"] > image_scores(turned)["image0"]


def test_the_seed_decides_and_nothing_else(make: Callable[..., Job], save: Callable[..., list[JobImage]]) -> None:
    normals = save([striped(i) for i in range(20)], "normal", ids=False)
    images = save([dented(51)], "image")
    jobs = [
        make(images, normals, name, embedder=TwoLevels(), bank_size=50, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    for job in jobs:
        run_job(job)
    first, same, other = (next(iter(job.store.scores)).scores for job in jobs)
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_resuming_with_levels(make: Callable[..., Job], save: Callable[..., list[JobImage]]) -> None:
    class Stopped(Exception):
        pass

    normals = save([striped(i) for i in range(5)], "normal", ids=False)
    images = save([striped(50), dented(51), striped(52)], "image")
    for method, reference in (("reference", normals), ("unlabeled", [])):
        scored = images if reference else [*images, *normals]
        whole = make(scored, reference, f"{method}-whole", embedder=TwoLevels())
        run_job(whole)
        for stop in (1, 4, 6, 7):
            seen = 0

            def advance(count: int, stop: int = stop) -> None:
                nonlocal seen
                seen += count
                if seen >= stop:
                    raise Stopped

            with pytest.raises(Stopped):
                run_job(make(scored, reference, f"{method}-{stop}", on_progress=advance, embedder=TwoLevels()))
            again = make(scored, reference, f"{method}-{stop}", embedder=TwoLevels())
            run_job(again)
            assert image_scores(again) == pytest.approx(image_scores(whole), rel=1e-4), (method, stop)


def test_images_that_components_were_fitted_to_do_not_calibrate(
    make: Callable[..., Job], save: Callable[..., list[JobImage]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "FIT_IMAGES", 3)
    normals = save([striped(i) for i in range(12)], "normal", ids=False)
    few, many = make(normals[:1], normals[:11], "few"), make(normals, normals, "many")
    for job in (few, many):
        run_job(job)
    assert len(few.store.normals.ids()) == 11, "too few to do without"
    assert len(many.store.normals.ids()) == 9
    assert len(image_scores(many)) == 12 and min(image_scores(many).values()) > 0.1, (
        "all are scored, without themselves"
    )


def test_a_normal_image_that_cannot_be_read_is_named_once(
    make: Callable[..., Job], save: Callable[..., list[JobImage]]
) -> None:
    normals = save([striped(i) for i in range(5)], "normal", ids=False)
    Path(normals[2].path).write_bytes(b"no image")
    job = make(save([dented(9)], "image"), normals)
    run_job(job)
    assert [entry["id"] for entry in job.report.skipped] == [normals[2].path]
