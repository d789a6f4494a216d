"""explain_sample: the segments that stand out and their neighbours, against a direct search."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from conftest import ColourEmbedder
from fiftyone_segad.embedders.base import normalize
from fiftyone_segad.segments.boxes import get_proposer
from fiftyone_segad.utils.images import read_image

TILES = "tiles:0.4:0.2"


@pytest.fixture(scope="module")
def dataset(
    module_dataset_of: Callable[..., fo.Dataset], module_pictures: list[Path], module_colour_embedder: type
) -> fo.Dataset:
    return scored(module_dataset_of(module_pictures))


def scored(dataset: fo.Dataset) -> fo.Dataset:
    segad.compute_segment_anomalies(dataset, reference=dataset.limit(4), segments=TILES)
    return dataset


def last(dataset: fo.Dataset) -> str:
    """The id of the picture with a bright square at 40 to 56, 30 to 46."""
    return str(dataset.values("id")[5])


def test_the_highest_segment_holds_the_defect(dataset: fo.Dataset) -> None:
    first, *others = segad.explain_sample(dataset, "segad", last(dataset), max_segments=3)
    x0, y0, x1, y1 = first.box
    assert x0 < 56 and x1 > 40 and y0 < 46 and y1 > 30
    records = {record.id: record for record in segad.load_run(dataset, "segad").store.scores}
    assert first.score == records[last(dataset)].scores.max()
    scores = [first.score, *(other.score for other in others)]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert len({segment.box for segment in [first, *others]}) == 3


def test_neighbours_are_the_nearest_of_each_normal_image(dataset: fo.Dataset) -> None:
    (segment,) = segad.explain_sample(dataset, "segad", last(dataset), max_segments=1, max_neighbours=4)
    paths = dataset.values("filepath")
    embedder = ColourEmbedder()

    def features(path: str) -> np.ndarray:
        image = read_image(path)
        return normalize(embedder.embed(image, get_proposer(TILES)((96, 80))))

    boxes = [tuple(box) for box in get_proposer(TILES)((96, 80)).boxes.tolist()]
    query = features(paths[5])[boxes.index(segment.box)]
    expected = []
    for path in paths[:4]:
        distances = np.linalg.norm(features(path) - query, axis=1)
        expected.append((float(distances.min()), path, boxes[int(distances.argmin())]))
    expected.sort()
    assert [neighbour.filepath for neighbour in segment.neighbours] == [path for _, path, _ in expected]
    assert [neighbour.box for neighbour in segment.neighbours] == [box for _, _, box in expected]
    distances = [neighbour.distance for neighbour in segment.neighbours]
    assert distances == pytest.approx([distance for distance, _, _ in expected], abs=1e-3)


def test_a_normal_image_is_not_its_own_neighbour(dataset: fo.Dataset) -> None:
    sample = dataset.first()
    (segment,) = segad.explain_sample(dataset, "segad", sample.id, max_segments=1, max_neighbours=9)
    assert len(segment.neighbours) == 3
    assert sample.filepath not in {neighbour.filepath for neighbour in segment.neighbours}


@pytest.mark.parametrize("method", ["reference", "unlabeled"])
def test_a_copy_of_a_normal_image_is_not_its_neighbour(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path, colour_embedder: type, method: str
) -> None:
    shutil.copyfile(pictures[1], tmp_path / "copy.png")
    (tmp_path / "link.png").symlink_to(pictures[2])
    dataset = dataset_of([*pictures, tmp_path / "copy.png", tmp_path / "link.png"])
    options = {"reference": dataset.limit(4)} if method == "reference" else {}
    segad.compute_segment_anomalies(dataset, method=method, segments=TILES, **options)
    for sample, original in zip(dataset.skip(6), pictures[1:3], strict=True):
        (segment,) = segad.explain_sample(dataset, "segad", sample.id, max_segments=1, max_neighbours=9)
        shown = {neighbour.filepath for neighbour in segment.neighbours}
        assert len(shown) >= 3 and not shown & {str(original), sample.filepath}


def test_within_image_shows_segments_of_the_same_image(dataset: fo.Dataset) -> None:
    segad.compute_segment_anomalies(dataset, key="own", method="within_image", segments="grid:4")
    (segment,) = segad.explain_sample(dataset, "own", last(dataset), max_segments=1)
    assert segment.box == (48, 40, 72, 60) or segment.box == (24, 20, 48, 40), "a cell that the square reaches into"
    assert {neighbour.filepath for neighbour in segment.neighbours} == {dataset.last().filepath}
    assert segment.box not in {neighbour.box for neighbour in segment.neighbours}


def test_unlabeled_compares_with_the_others(dataset: fo.Dataset) -> None:
    segad.compute_segment_anomalies(dataset, key="blind", method="unlabeled", segments=TILES)
    (segment,) = segad.explain_sample(dataset, "blind", last(dataset), max_segments=1, max_neighbours=9)
    assert {neighbour.filepath for neighbour in segment.neighbours} == set(dataset.values("filepath")[:5])


def test_turned_copies_have_no_box(dataset: fo.Dataset) -> None:
    segad.compute_segment_anomalies(dataset, key="turned", reference=dataset.limit(4), segments=TILES, rotations=4)
    segments = segad.explain_sample(dataset, "turned", last(dataset), max_segments=9, max_neighbours=4)
    boxes = [neighbour.box for segment in segments for neighbour in segment.neighbours]
    assert None in boxes
    assert any(box is not None for box in boxes)


def test_errors_say_what_to_do(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], colour_embedder: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = scored(dataset_of(pictures))
    with pytest.raises(ValueError, match="no run 'other'"):
        segad.explain_sample(dataset, "other", last(dataset))
    with pytest.raises(ValueError, match=r"sample_id must be the id of a sample, e\.g\. sample\.id, got Sample"):
        segad.explain_sample(dataset, "segad", dataset.last())
    with pytest.raises(ValueError, match="max_segments must be a whole number from 1 on, got '3'"):
        segad.explain_sample(dataset, "segad", last(dataset), max_segments="3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'segad' has no score for sample 6"):
        segad.explain_sample(dataset, "segad", "6" * 24)
    file = Path(dataset.first().filepath)
    Image.open(file).resize((50, 40)).save(file)
    with pytest.raises(segad.RunError, match="50 x 40 px now and was 96 x 80"):
        segad.explain_sample(dataset, "segad", dataset.first().id)
    monkeypatch.setattr(ColourEmbedder, "identity", "colour-2")
    with pytest.raises(segad.RunError, match="'colour-1', which is now 'colour-2'"):
        segad.explain_sample(dataset, "segad", last(dataset))
