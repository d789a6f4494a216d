"""Runs on images of more than 8 bits: one scale for all that a run reads, so that they rank as images of 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import fiftyone as fo
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr

import fiftyone_segad as segad
from conftest import shared
from fiftyone_segad.utils.grey_scale import FULL_RANGE, GreyScale

pytestmark = pytest.mark.usefixtures("colour_embedder")

Widen = Callable[[NDArray[np.uint8]], NDArray[np.integer]]
"""Stores 8-bit values in more bits."""

WIDENED: dict[str, Widen] = {
    "10 bits": lambda pixels: pixels.astype(np.uint16) << 2,
    "12 bits": lambda pixels: pixels.astype(np.uint16) << 4,
    "narrow": lambda pixels: 30_000 + 2 * pixels.astype(np.uint16),
    "32 bits": lambda pixels: pixels.astype(np.int32),
    "16 bits": lambda pixels: 257 * pixels.astype(np.uint16),
}


def save_grey(folder: Path, widen: Widen = lambda pixels: pixels, square: int = 220) -> list[Path]:
    """Save eight grey pictures of noise, 96 x 80 px, from black to white; the last two have a square in the middle."""
    folder.mkdir()
    random = np.random.default_rng(7)
    paths = []
    for index in range(8):
        picture = random.integers(90, 150, (80, 96), dtype=np.uint8)
        picture[0, :2], picture[0, 2:4] = 0, 255
        if index >= 6:
            picture[30:46, 40:56] = square
        paths.append(folder / f"{index}.tif")
        Image.fromarray(widen(picture)).save(paths[-1])
    return paths


def compute(dataset: fo.Dataset, **options: Any) -> segad.Run:
    settings = {"reference": dataset.limit(5), "threshold": "fpr:0.1", "segments": "tiles:0.4:0.2"}
    return segad.compute_segment_anomalies(dataset, **{**settings, **options})


def scores(dataset: fo.Dataset, run: segad.Run) -> dict[str, tuple[float, list[float]]]:
    names = {sample.id: Path(sample.filepath).name for sample in dataset}
    return {names[record.id]: (record.image_score, record.scores.tolist()) for record in run.store.scores}


@pytest.mark.parametrize(
    ("name", "method"),
    [*((name, "reference") for name in WIDENED), ("10 bits", "unlabeled"), ("narrow", "within_image")],
)
def test_scores_are_those_of_8_bits(
    dataset_of: Callable[..., fo.Dataset], tmp_path: Path, name: str, method: str
) -> None:
    options: dict[str, Any] = {"method": method}
    if method != "reference":
        options |= {"reference": None, "threshold": "quantile:0.9", "segments": "grid:5"}
    plain, deep = dataset_of(save_grey(tmp_path / "plain")), dataset_of(save_grey(tmp_path / "deep", WIDENED[name]))
    expected = scores(plain, compute(plain, **options))
    assert max(expected, key=lambda name: expected[name]) in ("6.tif", "7.tif")
    assert scores(deep, compute(deep, **options)) == expected


def test_scores_of_deep_colours_are_those_of_8_bits(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    expected = {}
    for name, factor in (("plain", 1), ("deep", 4)):
        paths = [path.with_suffix(".png") for path in save_grey(tmp_path / name)]
        for index, path in enumerate(paths):
            with Image.open(path.with_suffix(".tif")) as grey:
                pixels = np.asarray(grey)
            colours = np.stack([pixels, pixels.T.reshape(pixels.shape), 255 - pixels], axis=2)
            colours[:, 50] = index * 30, 80, 200
            cv2.imwrite(str(path), colours.astype(np.uint8 if factor == 1 else np.uint16) * factor)
        dataset = dataset_of(paths)
        run = compute(dataset)
        expected[name] = scores(dataset, run)
    assert run.grey_scale == GreyScale(0, 1023)
    assert expected["deep"] == expected["plain"]


def test_a_run_keeps_and_tells_its_scale(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    dataset = dataset_of(save_grey(tmp_path / "deep", WIDENED["10 bits"]))
    run = compute(dataset)
    assert run.settings["grey_scale"] == [0, 1023] and run.grey_scale == GreyScale(0, 1023)
    text = "in all of them, grey values from 0 to 1,023 are read as black to white"
    assert sum(text in warning for warning in run.warnings) == 1 and text in str(run)
    assert segad.load_run(dataset, "segad") == run
    assert str(run.grey_scale) in segad.set_threshold(dataset, "segad", 1.0).warnings


def test_runs_on_8_bits_have_no_scale(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    run = compute(dataset_of(save_grey(tmp_path / "plain")))
    assert run.settings["grey_scale"] is None and run.grey_scale == FULL_RANGE
    assert not any("grey values" in warning for warning in run.warnings)


@pytest.mark.parametrize("square", [250, 1000])
def test_brighter_defects_do_not_change_the_scale(
    dataset_of: Callable[..., fo.Dataset], tmp_path: Path, square: int
) -> None:
    """What is brighter than any normal image is white, and the rest of its image is as it was."""

    def paint(pixels: NDArray[np.uint8]) -> NDArray[np.integer]:
        wide = pixels.astype(np.uint16) << 2
        wide[pixels == 254] = square << 2
        return wide

    dataset = dataset_of(save_grey(tmp_path / "deep", paint, square=254))
    plain = dataset_of(save_grey(tmp_path / "plain", square=min(square, 255)))
    run = compute(dataset)
    assert run.grey_scale == GreyScale(0, 1023)
    assert scores(dataset, run) == scores(plain, compute(plain))


@pytest.mark.parametrize("name", ["10 bits", "narrow"])
def test_later_images_are_read_by_the_scale_of_the_run(
    dataset_of: Callable[..., fo.Dataset], tmp_path: Path, name: str
) -> None:
    """Those of the first run, of a bank on another dataset, and after a review; none of them finds its own scale."""
    paths = save_grey(tmp_path / "deep", WIDENED[name])
    dataset, other = dataset_of(paths), dataset_of(paths[5:])
    expected = scores(dataset, compute(dataset, key="complete"))
    run = segad.compute_segment_anomalies(
        dataset.limit(5), reference=dataset.limit(5), threshold="fpr:0.1", segments="tiles:0.4:0.2"
    )
    assert scores(dataset, segad.score_new(dataset)) == expected
    bank = segad.save_bank(dataset, "segad", tmp_path / "bank.safetensors")
    new = segad.score_new(other, "new", bank=bank)
    assert new.grey_scale == run.grey_scale != FULL_RANGE
    assert str(run.grey_scale) in new.warnings
    assert scores(other, new) == {path.name: expected[path.name] for path in paths[5:]}
    segad.mark_normal(dataset.skip(7), "segad")
    taught = segad.rescore(dataset, "segad").run
    assert taught.grey_scale == run.grey_scale and str(run.grey_scale) in taught.warnings
    learnt = scores(dataset, taught)
    assert scores(dataset, compute(dataset, overwrite=True)) == learnt != expected


def test_what_is_shown_of_a_run_is_read_by_its_scale(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    explained, points, sheets = [], [], []
    for name, widen in (("plain", lambda pixels: pixels), ("deep", WIDENED["narrow"])):
        (tmp_path / name).mkdir()
        dataset = dataset_of(save_grey(tmp_path / name / "part", widen))
        compute(dataset)
        segments = segad.explain_sample(dataset, "segad", dataset.last().id)
        explained.append([(s.box, s.score, [near.distance for near in s.neighbours]) for s in segments])
        points.append(segad.visualize_segments(dataset, "segad", method="pca").points)
        sheets.append(np.asarray(segad.contact_sheet(dataset)))
    assert explained[0] == explained[1]
    np.testing.assert_array_equal(*points)
    np.testing.assert_array_equal(*sheets)


def test_curation_reads_deep_images_by_one_scale(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    results = []
    for name, widen in (("plain", lambda pixels: pixels), ("deep", WIDENED["narrow"])):
        (tmp_path / name).mkdir()
        dataset = dataset_of(save_grey(tmp_path / name / "part", widen))
        segad.image_quality(dataset)
        segad.find_contamination(dataset, "contamination")
        chosen = segad.select_coreset(dataset, 4)
        results.append(
            (dataset.values(["quality_brightness", "contamination"]), [Path(p).name for p in chosen.values("filepath")])
        )
    assert results[0] == results[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["10 bits", "narrow"])
def test_screws_of_more_bits_rank_as_those_of_8(
    dataset_of: Callable[..., fo.Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.undo()  # the embedder of the package itself
    folder = shared("screw")
    files = sorted((folder / "train" / "good").iterdir())[:6]
    files += [file for kind in sorted((folder / "test").iterdir()) for file in sorted(kind.iterdir())[:2]]
    results = []
    for bits, widen in (("8 bits", lambda pixels: pixels), (name, WIDENED[name])):
        (tmp_path / bits).mkdir()
        paths = [tmp_path / bits / f"{i:02}.tif" for i in range(len(files))]
        for file, path in zip(files, paths, strict=True):
            Image.fromarray(widen(np.asarray(Image.open(file).convert("L")))).save(path)
        dataset = dataset_of(paths)
        run = compute(dataset, reference=dataset.limit(6), embedder="efficientnet", segments=None)
        results.append([score for _, (score, _) in sorted(scores(dataset, run).items())])
    assert spearmanr(*results).statistic >= 0.98
