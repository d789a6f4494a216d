"""Contamination: what does not belong among normals is ranked first, with its reason, and nothing is left behind."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import fiftyone as fo
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

import fiftyone_segad as segad
from bolts import SHAFT, bolt, red
from conftest import shared
from fiftyone_segad.curation.contamination import SUSPECT, judge
from fiftyone_segad.embedders.factory import EMBEDDERS
from fiftyone_segad.utils.exposure import Exposure
from plugin_calls import form, plugin_module, run

FIELDS = {"contamination", "contamination_reason", "contamination_segment"}


def exposures(count: int, **changed: dict[int, object]) -> list[Exposure]:
    """Statistics that vary a little from image to image, but for those that are changed: by name, values by index."""
    noise = np.random.default_rng(3).normal(size=(count, 3))
    made = []
    for i, (a, b, c) in enumerate(noise):
        values = {"size": (64, 48), "blur": 500 * np.exp(a / 10), "brightness": 120 + b, "contrast": 40 + c, "dark": 0}
        made.append(Exposure(**{**values, **{name: by[i] for name, by in changed.items() if i in by}}))
    return made


@pytest.mark.parametrize(
    ("changed", "peak", "middle", "reason"),
    [
        ({}, 1.0, 0.1, None),
        ({}, 3.0, 0.1, "probable defect"),
        ({}, 3.0, 2.0, "wrong category"),
        ({"brightness": {4: 20.0}}, 3.0, 2.0, "bad exposure (brightness 20"),
        ({"contrast": {4: 2.0}}, 1.0, 0.1, "bad exposure (brightness 1"),
        ({"blur": {4: 5.0}}, 1.0, 0.1, "blur (variance of the Laplacian 5.0)"),
        ({"contrast": {4: 200.0}}, 1.0, 0.1, None),  # defects add contrast
        ({"blur": {4: 50000.0}}, 1.0, 0.1, None),  # very sharp is no fault
        ({"size": {4: (64, 64)}}, 3.0, 2.0, "other camera (64 x 64 px)"),
    ],
)
def test_reasons(changed: dict[str, dict[int, object]], peak: float, middle: float, reason: str | None) -> None:
    peaks = np.linspace(0.9, 1.1, 21)
    middles = np.full(21, 0.1)
    peaks[4], middles[4] = peak, middle
    judged = judge(peaks, middles, exposures(21, **changed))
    assert [suspicion.reason for i, suspicion in enumerate(judged) if i != 4] == [None] * 20
    if reason is None:
        assert judged[4].reason is None and judged[4].contamination < SUSPECT
    else:
        assert (judged[4].reason or "").startswith(reason)
        assert judged[4].contamination == max(suspicion.contamination for suspicion in judged) >= SUSPECT


def test_contamination_is_the_modified_z_score_of_the_peak() -> None:
    judged = judge([1, 2, 3, 4, 100], [0] * 5, exposures(5))
    assert judged[4].contamination == pytest.approx(0.6745 * 97)
    assert [suspicion.reason for suspicion in judged] == [None] * 4 + ["probable defect"]


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    """Twenty pictures of one pattern; 16 with a red square, 17 dark, 18 damaged, 19 the file of 16 again."""
    generator = np.random.default_rng(2)
    coarse = generator.integers(90, 150, (10, 12, 3), dtype=np.uint8)
    pattern = np.asarray(Image.fromarray(coarse).resize((96, 80), Image.Resampling.BICUBIC)).astype(np.int16)
    paths = []
    for index in range(20):
        picture = np.clip(pattern + generator.integers(-6, 7, pattern.shape), 0, 255).astype(np.uint8)
        if index == 16:
            picture[30:46, 40:56] = (250, 20, 20)
        if index == 17:
            picture //= 6
        paths.append(tmp_path / f"{index:02}.png")
        Image.fromarray(picture).save(paths[-1])
    paths[18].write_bytes(b"damaged")
    shutil.copy(paths[16], paths[19])
    return dataset_of(paths)


@pytest.mark.usefixtures("colour_embedder")
@pytest.mark.parametrize("method", ["unlabeled", "reference"])
def test_ranking_reasons_and_segments(dataset: fo.Dataset, method: str) -> None:
    before, runs = set(dataset.get_field_schema()), dataset.list_runs()
    view = segad.find_contamination(dataset, method=method, tag="suspect")
    ids = dataset.values("id")
    assert set(dataset.get_field_schema()) - before == FIELDS
    assert len(view) == 20 and view.values("id")[0] == ids[18], "what cannot be read comes first"
    assert set(view.values("id")[1:4]) == {ids[16], ids[17], ids[19]}, "a copy of a defect does not excuse it"
    scores = view.values("contamination")
    assert scores == sorted(scores, reverse=True) and all(isinstance(score, float) for score in scores)
    reasons = dict(zip(ids, dataset.values("contamination_reason"), strict=True))
    assert reasons[ids[16]] == reasons[ids[19]] == "probable defect"
    assert reasons[ids[17]].startswith("bad exposure (brightness 2")
    assert reasons[ids[18]].startswith("cannot be used") and "18.png" in reasons[ids[18]]
    flagged = {id for id, reason in reasons.items() if reason is not None}
    assert set(dataset.match_tags("suspect").values("id")) == flagged
    assert {id for id, score in zip(view.values("id"), scores, strict=True) if score >= SUSPECT} == flagged
    [worst] = dataset[ids[16]].contamination_segment.detections
    x, y, width, height = worst.bounding_box
    assert x <= 40 / 96 + 0.1 and x + width >= 56 / 96 - 0.1 and y <= 30 / 80 + 0.1 and y + height >= 46 / 80 - 0.1
    segad.delete_curation(dataset, "contamination")
    assert set(dataset.get_field_schema()) == before
    assert dataset.list_runs() == runs and dataset.count_values("tags") == {}


@pytest.mark.usefixtures("colour_embedder")
def test_it_leaves_no_files(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    pixels = {path: Path(path).read_bytes() for path in dataset.values("filepath")}
    segad.find_contamination(dataset)
    assert list(scratch.iterdir()) == []
    assert {path: Path(path).read_bytes() for path in pixels} == pixels


@pytest.mark.usefixtures("colour_embedder")
def test_a_second_call_replaces_the_first(dataset: fo.Dataset) -> None:
    segad.find_contamination(dataset, tag="suspect")
    segad.find_contamination(dataset.limit(16))
    assert dataset.count("contamination") == 16
    assert dataset.count_values("tags") == {}
    with pytest.raises(ValueError, match="'contamination' is the key of contamination"):
        segad.image_quality(dataset, key="contamination")


@pytest.mark.usefixtures("colour_embedder")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "within_image"}, "method='within_image'"),
        ({"embedder": "fastdupp"}, "did you mean 'fastdup'"),
        ({"key": "1st"}, "key='1st'"),
        ({"num_workers": 0}, "num_workers"),
        ({"defects": "tiny"}, "defects='tiny'"),
    ],
)
def test_wrong_parameters(dataset: fo.Dataset, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segad.find_contamination(dataset, **arguments)
    assert dataset.list_runs() == []


def test_too_few_images(dataset: fo.Dataset) -> None:
    with pytest.raises(ValueError, match="reference has 3 images; at least 4"):
        segad.find_contamination(dataset.limit(3))


@pytest.mark.usefixtures("colour_embedder")
def test_operator(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset.tag_samples("good")
    monkeypatch.setattr(plugin_module("embedders.factory"), "EMBEDDERS", EMBEDDERS)  # the plugin gets the stand-in too
    result = run("find_contamination", dataset)
    assert (result["examined"], result["suspect"]) == (20, 4)
    assert "probable defect" in result["messages"]
    dataset.reload()
    assert dataset.count("contamination") == 20
    properties = form("find_contamination", dataset)
    assert not any(prop["invalid"] for prop in properties.values())
    assert properties["normals_count"]["view"]["label"] == "20 normal images"
    assert form("find_contamination", dataset, key="a b")["key"]["invalid"]


@pytest.mark.usefixtures("colour_embedder")
def test_aligned_parts(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    """Bolts at many angles, one with a mark: its segment is where the mark is, and what is no bolt is suspect."""
    paths = []
    for index in range(12):
        paths.append(tmp_path / f"{index}.png")
        picture = bolt(30 * index + 7)
        if index != 7:
            picture[red(picture)] = SHAFT
        Image.fromarray(picture).save(paths[-1])
    Image.new("RGB", (300, 280), (90, 90, 90)).save(paths[11])
    dataset = dataset_of(paths)
    ids = segad.find_contamination(dataset, align=True).values("id")
    assert ids[:2] == [dataset.values("id")[11], dataset.values("id")[7]]
    assert dataset[ids[0]].contamination_reason, "compared as it is"
    [worst] = dataset[ids[1]].contamination_segment.detections
    x, y, width, height = worst.bounding_box
    row, column = np.argwhere(red(bolt(217))).mean(axis=0) / (280, 300)
    assert x <= column <= x + width and y <= row <= y + height


def mixed(category: str, seed: int) -> tuple[list[Path], list[bool]]:
    """The training images of a category with 10 % of defective test images among them, and which are those."""
    folder = shared(category)
    good = sorted((folder / "train/good").iterdir())
    bad = sorted(path for kind in (folder / "test").iterdir() if kind.name != "good" for path in kind.iterdir())
    bad = random.Random(seed).sample(bad, round(len(good) / 9))
    return [*good, *bad], [False] * len(good) + [True] * len(bad)


@pytest.mark.slow
def test_defective_screws_among_normal_ones(dataset_of: Callable[..., fo.Dataset]) -> None:
    paths, defective = mixed("screw", seed=0)
    dataset = dataset_of(paths)
    segad.find_contamination(dataset, align=True)
    assert average_precision_score(defective, dataset.values("contamination")) >= 0.85


@pytest.mark.slow
def test_a_blurred_and_a_dim_screw(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    paths = sorted((shared("screw") / "train/good").iterdir())[:30]
    with Image.open(paths[0]) as image:
        pixels = np.asarray(image.convert("RGB"))
    Image.fromarray(cv2.GaussianBlur(pixels, (0, 0), 6)).save(tmp_path / "blurred.png")
    Image.fromarray(pixels // 4).save(tmp_path / "dim.png")
    dataset = dataset_of([tmp_path / "blurred.png", tmp_path / "dim.png", *paths[1:]])
    segad.find_contamination(dataset)
    reasons = dataset.values("contamination_reason")
    assert reasons[0].startswith("blur") and reasons[1].startswith("bad exposure")
