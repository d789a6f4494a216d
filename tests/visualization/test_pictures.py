"""Pictures of a run: what is drawn, and what is left empty where a file is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.visualization.pictures import short_name

TILE = 226
ROW = 242


@pytest.fixture
def dataset(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path, colour_embedder: type
) -> fo.Dataset:
    made = dataset_of(pictures)
    mask = np.zeros((80, 96), np.uint8)
    mask[30:46, 40:56] = 255
    (tmp_path / "masks").mkdir()
    truth = []
    for index in range(6):
        file = tmp_path / "masks" / f"{index}.png"
        Image.fromarray(mask if index == 5 else np.zeros_like(mask)).save(file)
        truth.append(fo.Segmentation(mask_path=str(file)))
    made.set_values("defect_mask", truth)
    segad.compute_segment_anomalies(made, reference=made.limit(4), segments="tiles:0.4:0.2")
    return made


def drawn_tiles(sheet: Image.Image, row: int) -> list[bool]:
    """Whether anything is drawn in each tile of a row."""
    pixels = np.asarray(sheet)[22 + row * ROW + 16 : 22 + row * ROW + 216]
    return [bool((pixels[:, 6 + column * TILE : 226 + column * TILE] < 250).any()) for column in range(4)]


def test_what_cannot_be_read_leaves_its_tile_empty(dataset: fo.Dataset, tmp_path: Path) -> None:
    by_score = dataset.sort_by("segad_score", reverse=True)
    assert drawn_tiles(segad.contact_sheet(by_score), 0) == [True] * 4
    sample = by_score.first()
    Image.new("L", (10, 10), 255).save(tmp_path / "masks/5.png")
    assert drawn_tiles(segad.contact_sheet(by_score), 0) == [True, True, True, False], "its size does not fit"
    (tmp_path / "masks/5.png").write_bytes(b"no image")
    Path(sample.segad_mask.mask_path).unlink()
    assert drawn_tiles(segad.contact_sheet(by_score), 0) == [True, True, False, False]
    Path(sample.segad_map.map_path).write_bytes(b"")
    assert drawn_tiles(segad.contact_sheet(by_score), 0) == [True, False, False, False]
    Path(sample.filepath).unlink()
    sheet = segad.contact_sheet(by_score)
    assert drawn_tiles(sheet, 0) == [False] * 4
    assert drawn_tiles(sheet, 1) == [True] * 4, "the others are as they were"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/screw/test/good/000.png", "good/000.png"),
        ("C:\\data\\good\\000.png", "good/000.png"),
        ("/000.png", "000.png"),
        ("good/000.png", "good/000.png"),
    ],
)
def test_short_names(path: str, name: str) -> None:
    assert short_name(path) == name
