"""``save_report``: what is in the file, and what is said where something is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.metrics.names import METRICS
from fiftyone_segad.visualization.mistakes import SIDE, draw_mistakes, misses
from mistaken_dataset import ALL_FLAGGED, NONE_FLAGGED, evaluated, mistaken_dataset
from plotted_results import results_of
from report_page import saved


@pytest.fixture(scope="module")
def dataset(
    module_dataset_of: Callable[..., fo.Dataset], module_pictures: list[Path], module_colour_embedder: type
) -> fo.Dataset:
    return mistaken_dataset(module_dataset_of, module_pictures)


@pytest.fixture
def dataset_to_spoil(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], colour_embedder: type) -> fo.Dataset:
    return mistaken_dataset(dataset_of, pictures)


def test_the_report_holds_what_was_found(dataset: fo.Dataset, tmp_path: Path) -> None:
    results = evaluated(dataset, ALL_FLAGGED)
    _, page = saved(results, tmp_path)
    for part in (dataset.name, "segad", "reference", "efficientnet", segad.__version__, "defect_mask"):
        assert part in page.text
    figures, bounds = results.metrics(), results.intervals()
    for name, (title, why) in list(METRICS.items())[:-2]:  # without the numbers of images
        row = page.texts.index(title, page.texts.index("what it says"))
        assert page.texts[row + 1] == ("-" if figures[name] is None else f"{figures[name]:.3f}")
        if name in bounds:
            assert page.texts[row + 2] == "{:.3f} to {:.3f}".format(*bounds[name])
        assert why in page.texts[row + 2 : row + 4]
    assert "2 of 2 defective images and 4 of 4 normal images are flagged" in page.text
    assert "Regions by size" in page.text
    assert "No misses at this threshold." in page.text
    assert "Worst false alarms (4)" in page.text


def test_the_pictures_of_false_alarms_and_misses(dataset: fo.Dataset, tmp_path: Path) -> None:
    alarms = evaluated(dataset, ALL_FLAGGED)
    _, page = saved(alarms, tmp_path)
    assert [image.size for image in page.images] == [(96, 80)] * 12, "image, map and masks of four"
    results = evaluated(dataset, NONE_FLAGGED)
    _, page = saved(results, tmp_path)
    assert len(page.images) == 6
    assert "No false alarms at this threshold." in page.text
    order = [str(i) for i in misses(results)]
    assert order == [dataset.last().id, dataset.skip(4).first().id], "the largest defect first"
    places = [page.text.index(f"{Path(dataset.first().filepath).parent.name}/{i}.png") for i in (5, 4)]
    assert places == sorted(places)
    masks = np.asarray(page.images[2]).astype(int)
    outline = (masks[..., 2] - masks[..., 0]) > 120
    assert outline[26:50, 36:60].any()
    assert not outline[32:44, 42:54].any(), "it runs around the defect"
    assert not outline[:20].any()
    score = f"score {results.images[order[0]].score:.4g}"
    assert f"{score} · threshold 100 · p-value 0.2" in page.text, "none of the four normal images scores as high"
    _, page = saved(results, tmp_path, max_images=1)
    assert len(page.images) == 3
    assert "1 of 2 are shown" in page.text
    text, page = saved(results, tmp_path, max_images=0)
    assert page.images == []
    assert "data:image" not in text.replace("img-src data:", "")[: text.index("<script")]
    assert "2; their pictures were left out" in page.text


def test_the_predicted_mask_is_that_of_the_evaluation(dataset: fo.Dataset, tmp_path: Path) -> None:
    results = evaluated(dataset, ALL_FLAGGED)
    segad.set_threshold(dataset, "segad", NONE_FLAGGED)  # rewrites the masks on the dataset
    (mistake,) = draw_mistakes(results, [dataset.first().id])
    picture = np.asarray(mistake.pictures["mask"]).astype(int)
    assert ((picture[..., 0] - picture[..., 2]) > 80).mean() > 0.5


def test_large_images_become_small_pictures_that_keep_small_defects(
    dataset_of: Callable[..., fo.Dataset], tmp_path: Path, colour_embedder: type
) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for shade, path in enumerate(paths, 90):
        Image.new("RGB", (1600, 800), (shade, 90, 90)).save(path)
    mask = np.zeros((800, 1600), np.uint8)
    mask[400, 800] = 255
    made = dataset_of(paths, defect_mask=[fo.Segmentation(mask=np.zeros_like(mask))] * 2 + [fo.Segmentation(mask=mask)])
    segad.compute_segment_anomalies(made, reference=made.limit(2), segments="grid:2", threshold=NONE_FLAGGED)
    _, page = saved(segad.evaluate_anomalies(made), tmp_path)
    assert [image.size for image in page.images] == [(SIDE, SIDE // 2)] * 3
    masks = np.asarray(page.images[2]).astype(int)
    outline = np.argwhere(masks[..., 2] - masks[..., 0] > 100)
    assert outline.mean(axis=0) == pytest.approx((80, 160), abs=3)


def test_what_is_gone_costs_only_its_picture(dataset_to_spoil: fo.Dataset, tmp_path: Path) -> None:
    dataset = dataset_to_spoil
    results = evaluated(dataset, NONE_FLAGGED)
    (tmp_path / "4.png").unlink()
    (tmp_path / "large.png").write_bytes(b"no image")
    text, page = saved(results, tmp_path)
    assert len(page.images) == 3, "those of 5.png, without outline"
    assert f"No such image file: '{tmp_path.name}/4.png'" in page.text
    assert f"'{tmp_path.name}/large.png' is not an image that can be read" in page.text
    assert str(tmp_path) not in text
    dataset.delete_sample_field("defect_mask")
    assert len(saved(results, tmp_path)[1].images) == 3
    segad.delete_run(dataset, "segad")
    _, page = saved(results, tmp_path)
    assert len(page.images) == 2, "image and masks; no map"
    assert "The run's scores are gone" in page.text
    dataset.delete_samples(dataset.limit(5))
    dataset.delete()
    _, page = saved(results, tmp_path)
    assert page.images == []
    assert "The sample is not in the dataset any more" in page.text
    assert f"{results.metrics()['pixel_auroc']:.3f}" in page.text


def test_results_without_samples_have_a_report_too(tmp_path: Path) -> None:
    results = results_of([1, 2, 6, 7], [False, True, False, True], ["", "dent", "", "dent"])
    _, page = saved(results, tmp_path)
    assert "Worst misses (1)" in page.text
    assert page.images == []
    none = results_of([1, 2], [False, False])
    assert "There are no defective images." in saved(none, tmp_path)[1].text
