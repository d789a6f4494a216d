"""Small runs of a few pictures, and all that they must leave as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image

import fiftyone_segad as segad


def make_dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    """The six pictures, the first four of them tagged ``good``."""
    dataset = dataset_of(pictures)
    dataset.limit(4).tag_samples("good")
    return dataset


def compute(dataset: fo.Dataset, **options: Any) -> segad.Run:
    settings = {"reference": dataset.match_tags("good"), "segments": "tiles:0.4:0.2"}
    return segad.compute_segment_anomalies(dataset.skip(4), **{**settings, **options})


def snapshot(dataset: fo.Dataset) -> dict[str, Any]:
    """All that a run must leave as it was, by sample."""
    skip = ("last_modified_at",)
    samples = {s.id: {k: v for k, v in s.to_dict().items() if k not in skip} for s in dataset}
    scheme = dataset.app_config.color_scheme
    return {
        "samples": samples,
        "schema": list(dataset.get_field_schema()),
        "runs": dataset.list_runs(),
        "targets": dict(dataset.mask_targets),
        "colours": None if scheme is None else scheme.to_dict(),
    }


def save_stripes(folder: Path) -> list[Path]:
    """Save twelve pictures of stripes and noise, 96 px; the last two have a bright square."""
    random = np.random.default_rng(3)
    paths = []
    for index in range(12):
        stripes = 120 + 40 * np.sin(np.arange(96) / 3 + random.uniform(0, 0.5))
        pixels = np.repeat(stripes[None, :, None] + random.normal(0, 6, (96, 96, 1)), 3, axis=2)
        picture = np.clip(pixels, 0, 255).astype(np.uint8)
        if index >= 10:
            picture[30:46, 40:56] = (250, 20, 20)
        paths.append(folder / f"{index}.png")
        Image.fromarray(picture).save(paths[-1])
    return paths
