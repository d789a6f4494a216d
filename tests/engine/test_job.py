"""The work of a run: leave-one-out, resuming, and images that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fiftyone_segad.embedders.base import Embedder, Level, Patches
from fiftyone_segad.engine.job import Job, JobContext, JobImage, JobSpec
from fiftyone_segad.engine.methods import run_job, steps
from fiftyone_segad.errors import SegadError
from fiftyone_segad.segments.boxes import Segments, grid
from fiftyone_segad.storage.records import ImageScores
from fiftyone_segad.storage.store import RunStore
from fiftyone_segad.utils.images import read_image

GRID = 3


class ColourEmbedder(Embedder):
    """Mean and deviation of the colours of a segment; NaN where the image is white."""

    name = "colour"
    identity = "colour-1"

    levels = (Level("grid"),)

    def __init__(self) -> None:
        self.seen: list[int] = []

    def embed(self, image: NDArray[np.uint8], segments: Segments) -> NDArray[np.float32]:
        self.seen.append(int(image.astype(np.int64).sum()))
        cut = [image[y0:y1, x0:x1].reshape(-1, 3).astype(float) for x0, y0, x1, y1 in segments.boxes]
        features = np.array([np.concatenate([c.mean(axis=0) - 128, c.std(axis=0) - 70]) for c in cut])
        return np.where(features[:, :1] == 127, np.nan, features).astype(np.float32)

    def patches(self, image: NDArray[np.uint8]) -> list[Patches]:
        segments = grid((image.shape[1], image.shape[0]), GRID)
        return [Patches(segments, self.embed(image, segments))]


class Stopped(Exception):
    """What the caller's ``on_progress`` raises."""


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Twelve images of coarse noise, 33 x 27 px."""
    random = np.random.default_rng(1)
    made = []
    for index in range(12):
        pixels = np.kron(random.integers(0, 250, (9, 11, 3)), np.ones((3, 3, 1))).astype(np.uint8)
        made.append(str(tmp_path / f"{index}.png"))
        Image.fromarray(pixels).save(made[-1])
    return made


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    def make(
        images: list[JobImage],
        normals: list[str],
        name: str = "run",
        method: str = "reference",
        embedder: Embedder | None = None,
        on_progress: Callable[[int], None] = lambda count: None,
    ) -> Job:
        spec = JobSpec(images, [JobImage(path, path) for path in normals], method, f"grid:{GRID}")
        store = RunStore(tmp_path / "stores" / name)
        return Job(spec, JobContext(embedder or ColourEmbedder(), store, workers=2, on_progress=on_progress))

    return make


def named(paths: list[str], prefix: str = "id") -> list[JobImage]:
    return [JobImage(f"{prefix}-{Path(path).stem}", path) for path in paths]


def unit_features(path: str) -> NDArray[np.float64]:
    image = read_image(path)
    features = ColourEmbedder().embed(image, grid((image.shape[1], image.shape[0]), GRID)).astype(np.float64)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def brute_force(path: str, others: list[str]) -> NDArray[np.float64]:
    """Distances of the segments of an image to the nearest segment of the others."""
    bank = np.concatenate([unit_features(other) for other in others])
    return np.array([min(np.linalg.norm(row - other) for other in bank) for row in unit_features(path)])


def by_id(parts: Any) -> dict[str, ImageScores]:
    records = list(parts)
    assert len({record.id for record in records}) == len(records), "an image was scored twice"
    return {record.id: record for record in records}


def assert_same_scores(one: dict[str, ImageScores], other: dict[str, ImageScores]) -> None:
    assert one.keys() == other.keys()
    for id, record in one.items():
        np.testing.assert_array_equal(record.scores, other[id].scores)
        np.testing.assert_array_equal(record.outliers, other[id].outliers)
        np.testing.assert_array_equal(record.segments.boxes, other[id].segments.boxes)
        assert record.image_score == other[id].image_score


def test_scores_are_distances_to_the_normals(paths: list[str], make_job: Callable[..., Job]) -> None:
    job = make_job(named(paths[6:]), paths[:6])
    run_job(job)
    scored = by_id(job.store.scores)
    assert list(scored) == [image.id for image in job.spec.images] and job.report.skipped == []
    for image in job.spec.images:
        expected = brute_force(image.path, paths[:6])
        np.testing.assert_allclose(scored[image.id].scores, expected, atol=1e-5)
        # Segments of 11 x 9 px without overlap: the map holds their scores, the highest is the image's
        assert scored[image.id].image_score == pytest.approx(expected.max(), abs=1e-5)
        assert not scored[image.id].outliers.any()


def test_an_image_is_never_compared_with_itself(paths: list[str], make_job: Callable[..., Job]) -> None:
    # Normals 2 and 3 are scored too, the latter under two ids
    images = [*named(paths[2:8]), JobImage("again", paths[3])]
    job = make_job(images, paths[:6])
    run_job(job)
    scored, normals = by_id(job.store.scores), by_id(job.store.normals)
    assert set(scored) == {image.id for image in images} and set(normals) == set(paths[:6])
    for id, path in [(image.id, image.path) for image in images] + [(path, path) for path in paths[:6]]:
        expected = brute_force(path, [other for other in paths[:6] if other != path])
        assert expected.min() > 1e-2  # itself would be at 0
        record = scored[id] if id in scored else normals[id]
        np.testing.assert_allclose(record.scores, expected, atol=1e-5)
    assert len(job.context.embedder.seen) == 8  # each file once


def test_progress_counts_every_image_once(paths: list[str], make_job: Callable[..., Job]) -> None:
    made: list[int] = []
    images = [*named(paths[4:9]), JobImage("again", paths[4])]
    job = make_job(images, paths[:6], on_progress=made.append)
    run_job(job)
    assert sum(made) == 6 + 6 + 6 == steps(job)  # reading the normals, scoring them, and the images
    made.clear()
    run_job(make_job(images, paths[:6], on_progress=made.append))  # all is done already
    assert sum(made) == 6 + 6 + 6


@pytest.mark.parametrize("method", ["reference", "within_image"])
@pytest.mark.parametrize(
    "stops", [[1], [5], [6], [7], [11], [3, 6, 9]], ids=lambda stops: "after " + ", ".join(map(str, stops))
)
def test_resuming(paths: list[str], make_job: Callable[..., Job], method: str, stops: list[int]) -> None:
    whole = make_job(named(paths[6:]), paths[:6], "whole", method=method)
    run_job(whole)
    seen: list[int] = []
    for stop in [*stops, None]:
        embedder = ColourEmbedder()

        def advance(count: int, left: int | None = stop and stop - len(seen), now: list[int] = embedder.seen) -> None:
            if left is not None and len(now) >= left:
                raise Stopped

        job = make_job(named(paths[6:]), paths[:6], "parts", method=method, embedder=embedder, on_progress=advance)
        if stop is None:
            run_job(job)
        else:
            with pytest.raises(Stopped):
                run_job(job)
            assert len(seen) + len(embedder.seen) in (stop, stop + 1)
        seen += embedder.seen
    assert len(set(seen)) == 12
    assert len(seen) <= 12 + len(stops)  # none was embedded twice but the one that was being finished at a stop
    assert_same_scores(by_id(job.store.scores), by_id(whole.store.scores))
    assert_same_scores(by_id(job.store.normals), by_id(whole.store.normals))


def test_resuming_after_the_embedder_failed(paths: list[str], make_job: Callable[..., Job]) -> None:
    class Failing(ColourEmbedder):
        def embed(self, image: NDArray[np.uint8], segments: Segments) -> NDArray[np.float32]:
            if len(self.seen) == 8:
                raise MemoryError("no memory left")
            return super().embed(image, segments)

    first = make_job(named(paths[6:]), paths[:6], embedder=Failing())
    with pytest.raises(MemoryError, match="no memory left"):
        run_job(first)
    assert len(first.store.scores.ids()) == 2
    second = make_job(named(paths[6:]), paths[:6])
    run_job(second)
    assert len(second.context.embedder.seen) == 4 and len(by_id(second.store.scores)) == 6


def test_images_added_to_a_finished_run(paths: list[str], make_job: Callable[..., Job]) -> None:
    run_job(make_job(named(paths[6:9]), paths[:6]))
    job = make_job(named(paths[6:]), paths[:6])
    run_job(job)
    assert len(job.context.embedder.seen) == 3
    assert set(by_id(job.store.scores)) == {image.id for image in job.spec.images}


def test_images_that_cannot_be_used_are_skipped(paths: list[str], make_job: Callable[..., Job]) -> None:
    Path(paths[1]).write_bytes(b"")
    Path(paths[7]).unlink()
    Image.new("RGB", (33, 2)).save(paths[8])
    Image.new("RGB", (33, 27), "white").save(paths[9])
    job = make_job([*named(paths[6:]), JobImage("empty", paths[10], [])], paths[:6])
    run_job(job)
    assert [entry["id"] for entry in job.report.skipped] == [paths[1], "id-7", "id-8", "id-9", "empty"]
    assert [entry["filepath"] for entry in job.report.skipped] == [paths[1], *paths[7:11]]
    reasons = [entry["reason"] for entry in job.report.skipped]
    assert "is empty (0 bytes)" in reasons[0] and "No such image file" in reasons[1]
    assert "3 x 3 grid does not fit" in reasons[2] and "not finite" in reasons[3] and "no segments" in reasons[4]
    scored = by_id(job.store.scores)
    assert set(scored) == {"id-6", "id-10", "id-11"}
    np.testing.assert_allclose(scored["id-6"].scores, brute_force(paths[6], [paths[0], *paths[2:6]]), atol=1e-5)
    assert set(by_id(job.store.normals)) == {paths[0], *paths[2:6]}


def test_the_only_normal_is_not_scored(paths: list[str], make_job: Callable[..., Job]) -> None:
    job = make_job(named(paths[:3]), paths[:1])
    run_job(job)
    assert set(by_id(job.store.scores)) == {"id-1", "id-2"} and by_id(job.store.normals) == {}
    assert len(job.report.skipped) == 1
    assert job.report.skipped[0]["id"] == "id-0" and "only normal image" in job.report.skipped[0]["reason"]


@pytest.mark.parametrize("method", ["reference", "within_image"])
def test_error_if_no_image_can_be_used(paths: list[str], make_job: Callable[..., Job], method: str) -> None:
    for path in paths[6:]:
        Path(path).write_bytes(b"no image")
    with pytest.raises(SegadError, match=r"None of the 6 images could be scored.*6\.png.*not an image"):
        run_job(make_job(named(paths[6:]), paths[:6], method=method))


def test_error_if_no_normal_can_be_used(paths: list[str], make_job: Callable[..., Job]) -> None:
    for path in paths[:6]:
        Path(path).unlink()
    with pytest.raises(SegadError, match=r"None of the 6 normal images could be used.*0\.png.*No such image file"):
        run_job(make_job(named(paths[6:]), paths[:6]))


def test_within_image_compares_with_the_same_image_only(paths: list[str], make_job: Callable[..., Job]) -> None:
    job = make_job(named(paths[:2]), paths[2:4], method="within_image")
    run_job(job)
    assert set(by_id(job.store.normals)) == set(paths[2:4])
    for image in job.spec.images:
        features = unit_features(image.path)
        similarities = features @ features.T
        np.fill_diagonal(similarities, -2)
        expected = 1 - np.sort(similarities, axis=1)[:, -2]
        record = by_id(job.store.scores)[image.id]
        np.testing.assert_allclose(record.scores, expected, atol=1e-5)
        assert np.flatnonzero(record.outliers).tolist() == [expected.argmax()]  # 18 pairs: one is kept


def test_images_may_bring_their_own_boxes(paths: list[str], make_job: Callable[..., Job]) -> None:
    boxes = [[0, 0, 1 / 3, 1 / 3], [1 / 3, 2 / 3, 2 / 3, 1 / 3]]
    job = make_job([JobImage("boxes", paths[6], boxes)], paths[:3])
    run_job(job)
    record = by_id(job.store.scores)["boxes"]
    assert record.segments.boxes.tolist() == [[0, 0, 11, 9], [11, 18, 33, 27]] and record.segments.shape is None
    assert record.scores[0] == pytest.approx(brute_force(paths[6], paths[:3])[0], abs=1e-5)


def test_more_images_than_a_part_holds(
    paths: list[str], make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fiftyone_segad.engine.passes.PART_SIZE", 3)  # the bank's 8 normals: two parts and two thirds
    images = [JobImage(f"{path}-{copy}", path) for copy in range(12) for path in paths[8:]]  # 48: a part and a half
    job = make_job(images, paths[:8])
    report = run_job(job)
    scored = by_id(job.store.scores)
    assert list(scored) == [image.id for image in images]
    for path in paths[8:]:
        np.testing.assert_allclose(scored[f"{path}-11"].scores, brute_force(path, paths[:8]), atol=1e-5)
    assert job.store.bank.paths() == paths[:8] and len(list((job.store.folder / "bank").iterdir())) == 3
    for path in paths[:8]:
        expected = brute_force(path, [other for other in paths[:8] if other != path])
        np.testing.assert_allclose(by_id(job.store.normals)[path].scores, expected, atol=1e-5)
    assert set(report.seconds) == {"decode", "embed", "index", "search", "map"}
