"""A small bank, and files of it that somebody has altered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fiftyone_segad.embedders.base import Level
from fiftyone_segad.scoring.thresholds import Thresholds
from fiftyone_segad.segments.boxes import from_boxes, grid
from fiftyone_segad.storage.bank_file import BankFile, BankLevel
from fiftyone_segad.storage.bank_header import BankHeader
from fiftyone_segad.storage.bank_images import FileState
from fiftyone_segad.storage.records import ImageScores
from fiftyone_segad.utils.arrays import map_arrays, write_arrays

LEVELS = (Level("stride 8", components=4), Level("stride 16"))


def make_bank(fitted: dict[str, Any] | None = None, **header: Any) -> BankFile:
    """Make a bank of two levels, the first with components, of three images."""
    random = np.random.default_rng(0)
    default = {
        "mean0": random.random(5, np.float32),
        "matrix0": random.random((5, 4), np.float32),
        **{f"scale{i}": np.array([0.1, 2.0]) for i in range(2)},
        **{f"damping{i}": np.ones((32, 32), np.float32) for i in range(2)},
    }
    segments = [grid((40, 30), 3), from_boxes((50, 40), [[3, 4, 9, 30], [0, 0, 50, 40]]), grid((9, 9), 2)]
    records = [
        ImageScores(name, boxes, random.random(len(boxes), np.float32), np.zeros(len(boxes), bool), float(i))
        for i, (name, boxes) in enumerate(zip(("a.png", "b.png", "ü c.png"), segments, strict=True))
    ]
    settings = {
        "method": "reference",
        "embedder": "lite2",
        "segments": None,
        "defects": "any",
        "embedder_kwargs": {},
        "bank_size": None,
        "seed": 0,
    }
    made = BankHeader(
        embedder="efficientnet",
        settings=settings,
        thresholds=Thresholds("fpr:0.01", 1.5, 0.5),
        map_range=(0.0, 2.0),
        levels=["stride 8", "stride 16"],
        images=[FileState(record.id, 10 + i, f"{i:064x}") for i, record in enumerate(records)],
        normals=[record.id for record in records],
    )
    levels = [
        BankLevel(random.random((7, 4)).astype(np.float16), np.array([3, 3, 7])),
        BankLevel(random.random((3, 6), np.float32), np.array([1, 2, 3])),
    ]
    return BankFile(replace(made, **header), levels, default if fitted is None else fitted, records)


def rewrite(file: Path, change: Callable[[dict[str, Any], dict[str, str]], object]) -> None:
    """Change arrays and texts of a file, as somebody would who means harm: with checksums that fit."""
    arrays, texts = map_arrays(file)
    arrays = {name: np.array(array) for name, array in arrays.items()}  # the file is about to be replaced
    change(arrays, texts)
    write_arrays(file, arrays, texts)


def rewrite_header(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the header of a bank file, whose checksums fit then."""

    def changed(arrays: dict[str, Any], texts: dict[str, str]) -> None:
        header = json.loads(texts["bank"])
        change(header)
        texts["bank"] = json.dumps(header)

    rewrite(file, changed)
