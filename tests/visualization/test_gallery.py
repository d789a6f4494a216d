"""``plot_worst``: the grid of the images that an evaluation got wrong."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from mistaken_dataset import ALL_FLAGGED, EVIL_FILE, NONE_FLAGGED, evaluated, mistaken_dataset
from plotted_results import results_of


@pytest.fixture(scope="module")
def dataset(
    module_dataset_of: Callable[..., fo.Dataset], module_pictures: list[Path], module_colour_embedder: type
) -> fo.Dataset:
    return mistaken_dataset(module_dataset_of, module_pictures)


@pytest.fixture
def dataset_to_spoil(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], colour_embedder: type) -> fo.Dataset:
    return mistaken_dataset(dataset_of, pictures)


def pictures(figure: object) -> list[Image.Image]:
    sources = [image.source.removeprefix("data:image/jpeg;base64,") for image in figure.layout.images]  # type: ignore[attr-defined]
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in sources]


def test_false_alarms_highest_score_first(dataset: fo.Dataset) -> None:
    results = evaluated(dataset, ALL_FLAGGED)
    figure = results.plot_worst("FP", max_images=3)
    scores = dict(zip(*dataset.values(["id", "segad_score"]), strict=True))
    normal = sorted(dataset.limit(4).values("id"), key=lambda id: -scores[id])
    assert [set(trace.customdata) for trace in figure.data] == [{id} for id in normal[:3]]
    assert figure.layout.title.text.startswith("<b>Worst false alarms</b>: 3 of 4")
    drawn = pictures(figure)
    assert [picture.size for picture in drawn] == [(96, 80)] * 9
    original = np.asarray(Image.open(dataset[normal[0]].filepath).convert("RGB"), float)
    assert np.abs(np.asarray(drawn[0], float) - original).mean() < 6, "the first one is the image itself"
    captions = [annotation.text for annotation in figure.layout.annotations]
    assert all(f"score {scores[id]:.4g}" in text for id, text in zip(normal[:3], captions, strict=True))
    assert not any("<img" in text for text in captions), EVIL_FILE


def test_pictures_do_not_overlap(dataset: fo.Dataset) -> None:
    boxes = [
        (image.x, image.y, image.sizex, image.sizey)
        for image in evaluated(dataset, ALL_FLAGGED).plot_worst().layout.images
    ]
    assert len(boxes) == 12
    for index, (x, y, width, height) in enumerate(boxes):
        assert height / width == pytest.approx(80 / 96, abs=0.01)
        for left, top, wide, high in boxes[:index]:
            assert abs(x - left) >= max(width, wide) or abs(y - top) > max(height, high)


def test_misses_largest_defect_first(dataset: fo.Dataset) -> None:
    figure = evaluated(dataset, NONE_FLAGGED).plot_worst("FN")
    assert [trace.customdata[0] for trace in figure.data] == [dataset.last().id, dataset.skip(4).first().id]


def test_what_is_gone_is_said_in_its_place(dataset_to_spoil: fo.Dataset) -> None:
    results = evaluated(dataset_to_spoil, NONE_FLAGGED)
    Path(dataset_to_spoil.last().filepath).unlink()
    texts = [annotation.text for annotation in results.plot_worst("FN").layout.annotations]
    assert {"no image", "no anomaly map", "no mask"} <= set(texts)


def test_none_to_show(dataset: fo.Dataset) -> None:
    figure = evaluated(dataset, ALL_FLAGGED).plot_worst("FN")
    assert len(figure.data) == len(figure.layout.images) == 0
    assert [annotation.text for annotation in figure.layout.annotations] == ["No misses at this threshold"]


def test_wrong_input() -> None:
    results = results_of([1, 9], [False, True])
    with pytest.raises(ValueError, match=r"outcome='TP' must be 'FP' \(false alarms\) or 'FN' \(misses\)"):
        results.plot_worst("TP")
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match=r"max_images=.* must be a whole number from 1 on"):
            results.plot_worst("FP", wrong)  # type: ignore[arg-type]
