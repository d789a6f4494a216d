"""explain_miss: a defective image in the bank is found as what excuses others, and how it gets out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad

pytestmark = pytest.mark.usefixtures("colour_embedder")

NORMALS = 9
BAD = 4
"""Number of the normal image that is defective."""


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> Iterator[fo.Dataset]:
    """Score three pictures with a square against nine normal ones, one of which has such a square, too."""
    paths = []
    for number in range(NORMALS + 4):
        random = np.random.default_rng(number)
        coarse = Image.fromarray(random.integers(90, 150, (10, 12, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((96, 80), Image.Resampling.BICUBIC)).copy()
        if number == BAD or NORMALS <= number < NORMALS + 3:
            pixels[30:46, 40:56] = (200, 60, 60)
        paths.append(tmp_path / f"{number:02d}.png")
        Image.fromarray(pixels).save(paths[-1])
    is_dent = [NORMALS <= number < NORMALS + 3 for number in range(len(paths))]
    made = dataset_of(paths, defect=[fo.Classification(label="dent" if dent else "good") for dent in is_dent])
    segad.compute_segment_anomalies(made.skip(NORMALS), reference=made.limit(NORMALS), groups=None)
    segad.set_threshold(made, "segad", 1.05 * max(made.select(defective(made)).values("segad_score")))
    yield made
    segad.delete_run(made, "segad")


def defective(dataset: fo.Dataset) -> list[str]:
    ids: list[str] = dataset.skip(NORMALS).limit(3).values("id")
    return ids


def test_the_defective_normal_image_is_named_and_leaving_it_out_finds_the_defects(dataset: fo.Dataset) -> None:
    bad, ids = dataset.skip(BAD).first(), defective(dataset)
    scores = dict(zip(*dataset.skip(NORMALS).values(["id", "segad_score"]), strict=True))
    threshold = segad.load_run(dataset, "segad").thresholds.image
    miss = segad.explain_miss(dataset, "segad", ids[0])
    assert (miss.score, miss.threshold) == (scores[ids[0]], threshold)
    first = miss.excuses[0]
    assert first.neighbour.filepath == bad.filepath and first.filepaths == [bad.filepath]
    assert first.neighbour.box is not None and first.box[0] < 56 and first.box[2] > 40
    assert first.score_without > miss.score and not first.is_mark
    assert sorted(first.excused) == sorted(ids) and first.suspicious
    assert "excuses 3 missed defects, and is probably defective itself: mark it as anomalous" in str(miss)
    scores_without = [excuse.score_without for excuse in miss.excuses]
    assert scores_without == sorted(scores_without, reverse=True)
    assert not any(excuse.suspicious for excuse in miss.excuses[1:])
    segad.mark_anomalous(dataset.select(bad.id), "segad")
    segad.rescore(dataset)
    assert dataset.select(ids).values("segad_pred.label") == ["anomalous"] * 3
    with pytest.raises(ValueError, match="is flagged: its score"):
        segad.explain_miss(dataset, "segad", ids[0])


def test_an_estimate_is_the_score_without_the_image(dataset: fo.Dataset) -> None:
    """Components and scales do not change here: distances are the scores."""
    (first, *_) = segad.explain_miss(dataset, "segad", defective(dataset)[0]).excuses
    reference = dataset.limit(NORMALS).exclude(dataset.skip(BAD).first().id)
    segad.compute_segment_anomalies(dataset.skip(NORMALS), "without", reference=reference, groups=None)
    assert dataset[defective(dataset)[0]].without_score == pytest.approx(first.score_without, rel=1e-4)
    segad.delete_run(dataset, "without")


def test_what_was_marked_as_normal_excuses_as_well(dataset: fo.Dataset) -> None:
    ids = defective(dataset)
    segad.mark_anomalous(dataset.skip(BAD).limit(1), "segad")
    segad.mark_normal(dataset.select(ids[2]), "segad")
    segad.rescore(dataset)
    first = segad.explain_miss(dataset, "segad", ids[0]).excuses[0]
    assert first.is_mark and first.neighbour.filepath == dataset[ids[2]].filepath
    assert "take its mark back with unmark()" in str(first) or not first.suspicious


def test_errors_say_what_to_do(dataset: fo.Dataset) -> None:
    with pytest.raises(ValueError, match="no score for sample abc"):
        segad.explain_miss(dataset, "segad", "abc")
    with pytest.raises(ValueError, match="max_excuses"):
        segad.explain_miss(dataset, "segad", dataset.last().id, max_excuses=0)
    segad.compute_segment_anomalies(dataset, "within", method="within_image", segments="grid:3")
    with pytest.raises(ValueError, match="compares with no normal images: its method is 'within_image'"):
        segad.explain_miss(dataset, "within", dataset.first().id)
    segad.delete_run(dataset, "within")
