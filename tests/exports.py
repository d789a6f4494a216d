"""Folders in MVTec layout to export from, and what an export is compared by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image


def write(path: Path, seed: int, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0]), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_mask(path: Path, seed: int, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.random.default_rng(seed).random((size[1], size[0])) < 0.1
    Image.fromarray((mask * 255).astype(np.uint8)).save(path)
    return path


def make_source(root: Path) -> Path:
    """Writes two categories in MVTec layout, with files of one name in several folders."""
    for number, category in enumerate(("bolt", "nut & washer")):
        for index in range(3):
            write(root / category / f"train/good/{index:03d}.png", 100 * number + index)
        write(root / category / "validation/good/000.png", 100 * number + 10)
        write(root / category / "test/good/000.jpg", 100 * number + 20)
        for defect in ("dent", "hole (big)"):
            for index in range(2):
                seed = 100 * number + 30 + index + 10 * (defect == "dent")
                write(root / category / f"test/{defect}/{index:03d}.png", seed, (50 + index, 33))
                mask = root / category / f"ground_truth/{defect}/{index:03d}_mask.png"
                write_mask(mask, seed, (50 + index, 33))
    return root


def content(dataset: fo.Dataset) -> list[tuple[Any, ...]]:
    """All that is known of each image, by the image's own bytes; masks pixel by pixel."""
    images = []
    for sample in dataset:
        mask = None
        if sample.defect_mask is not None:
            pixels = sample.defect_mask.get_mask() > 0
            mask = (pixels.shape, pixels.tobytes())
        pixels = np.asarray(Image.open(sample.filepath)).tobytes()
        images.append((pixels, sample.split, sample.category.label, sample.defect.label, mask))
    return sorted(images, key=repr)


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
