"""The images that cover a set best: which ones, in which order, and what is said of poor input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image

import fiftyone_segad as segad
from conftest import needs_fastdup, shared
from fiftyone_segad.curation import select_coreset
from fiftyone_segad.scoring.coreset import greedy_image_coreset
from oracles.image_coverage import distances
from plugin_calls import form, run

SMALL: dict[str, Any] = {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 128}}


@pytest.fixture
def kinds(tmp_path: Path, dataset_of: Callable[..., fo.Dataset]) -> fo.Dataset:
    """Twelve pictures: eight of fine stripes, three of coarse ones, one of dots."""
    random = np.random.default_rng(5)
    paths = []
    names = ["fine"] * 8 + ["coarse"] * 3 + ["dots"]
    for index, name in enumerate(names):
        x, y = np.meshgrid(np.arange(96), np.arange(96))
        wave = {"fine": np.sin(x / 2), "coarse": np.sin(y / 9), "dots": np.sin(x / 4) * np.sin(y / 4)}[name]
        pixels = 128 + 60 * wave + random.normal(0, 4, (96, 96))
        paths.append(tmp_path / f"{index}_{name}.png")
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(paths[-1])
    return dataset_of(paths)


def test_it_chooses_one_of_each_kind(kinds: fo.Dataset) -> None:
    view = segad.select_coreset(kinds, 3, tag="chosen", **SMALL)
    names = [Path(path).stem.split("_")[1] for path in view.values("filepath")]
    assert names[0] == "fine" and sorted(names) == ["coarse", "dots", "fine"]
    assert set(kinds.match_tags("chosen").values("id")) == set(view.values("id"))
    again = segad.select_coreset(kinds, 6, **SMALL)
    assert again.values("id")[:3] == view.values("id"), "the same each time, and in order"
    assert sorted(segad.select_coreset(kinds, 12, **SMALL).values("id")) == sorted(kinds.values("id"))
    assert segad.select_coreset(kinds[8:], 1, **SMALL).first().id in kinds[8:].values("id")
    assert kinds.count("tags") == 3, "only the tag is written"


def test_its_features_are_bounded(kinds: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []

    def watch(levels: Any, count: int) -> Any:
        kept.append(max(len(rows) for images in levels for rows in images))
        return greedy_image_coreset(levels, count)

    monkeypatch.setattr(select_coreset, "greedy_image_coreset", watch)
    monkeypatch.setattr(select_coreset, "ROW_BYTES", 12 * 4 * 64 * 10)
    segad.select_coreset(kinds, 2, **SMALL)
    assert 8 <= kept[0] <= 64 and kept[0] < 144
    monkeypatch.setattr(select_coreset, "ROW_BYTES", 1)
    segad.select_coreset(kinds, 2, **SMALL)
    assert kept[1] == 8


def test_what_cannot_be_read_is_left_out(kinds: fo.Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "broken.png").write_bytes(b"x")
    kinds.add_sample(fo.Sample(filepath=str(tmp_path / "broken.png")))
    view = segad.select_coreset(kinds, 12, **SMALL)
    assert len(view) == 12 and str(tmp_path / "broken.png") not in view.values("filepath")
    assert "broken.png" in caplog.text
    with pytest.raises(segad.SegadError, match=r"Only 12 of 13 images can be used, k=13.*broken\.png"):
        segad.select_coreset(kinds, 13, **SMALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k=0 must be a whole number from 1 to the number of samples, 12"),
        ({"k": 13}, "k=13"),
        ({"k": 1.5}, "k=1.5"),
        ({"k": True}, "k=True"),
        ({"tag": " "}, "tag=' '"),
        ({"num_workers": 0}, "num_workers"),
        ({"embedder": "magic"}, "embedder='magic' is not known"),
        ({"defects": "huge"}, "defects='huge'"),
    ],
)
def test_wrong_parameters(kinds: fo.Dataset, colour_embedder: Any, options: dict[str, Any], message: str) -> None:
    calls = colour_embedder.calls
    with pytest.raises(ValueError, match=message):
        segad.select_coreset(kinds, **{"k": 2, **options})
    assert colour_embedder.calls == calls


@needs_fastdup
def test_the_operator(kinds: fo.Dataset) -> None:
    kinds[:11].tag_samples("good")
    assert form("select_coreset", kinds)["k"]["default"] == 11
    assert "more than the 11" in form("select_coreset", kinds, k=12)["k"]["error_message"]
    done = run("select_coreset", kinds, k=2, normals="tag")
    assert (done["chosen"], done["of"], done["tag"]) == (2, 11, "coreset")
    tagged = kinds.match_tags("coreset").values("filepath")
    assert sorted(Path(path).stem.split("_")[1] for path in tagged) == ["coarse", "fine"]
    assert "tagged" in form("select_coreset", kinds)


@pytest.mark.slow
def test_on_screws_it_covers_better_than_chance() -> None:
    """The farthest image that is left is nearer than with any of 20 random choices of as many."""
    dataset = segad.load_mvtec(shared("screw"))
    try:
        normals = dataset.match(F("split") == "train").limit(40)
        seen: list[Any] = []

        def watch(levels: Any, count: int) -> Any:
            seen.append(levels)
            return greedy_image_coreset(levels, count)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(select_coreset, "greedy_image_coreset", watch)
            view = segad.select_coreset(normals, 8, embedder="efficientnet", embedder_kwargs={"input_size": 256})
        ids = normals.values("id")
        chosen = [ids.index(id) for id in view.values("id")]
        levels = seen[0]
        unit = distances(levels, chosen[:1]).mean(axis=1, keepdims=True)

        def radius(images: list[int]) -> float:
            return float((distances(levels, images) / unit).mean(axis=0).max())

        random = np.random.default_rng(0)
        others = [radius(random.choice(40, 8, replace=False).tolist()) for _ in range(20)]
        assert radius(chosen) < min(others)
    finally:
        dataset.delete()
