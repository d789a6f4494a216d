"""Pictures with many alarms: noise, and on some of them spots far from each other."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
from PIL import Image

import fiftyone_segad as segad

GOOD, SPOTTED = 8, 9
SIZE = (288, 192)
CENTRES = [(x, y) for y in (48, 144) for x in (48, 144, 240)]
"""Where the spots of a picture are: six of them."""


def spotted_dataset(folder: Path, name: str) -> fo.Dataset:
    """Save the pictures, with their ground truth, and score them beside the good ones: each spot is an alarm."""
    random = np.random.default_rng(5)
    samples = []
    for index in range(GOOD + SPOTTED):
        coarse = Image.fromarray(random.integers(100, 140, (24, 36, 3), dtype=np.uint8))
        picture = np.asarray(coarse.resize(SIZE, Image.Resampling.BICUBIC)).copy()
        truth = np.zeros(SIZE[::-1], np.uint8)
        for spot, (x, y) in enumerate(CENTRES if index >= GOOD else ()):
            side = 8 + spot
            area = (slice(y - side, y + side), slice(x - side, x + side))
            picture[area] = (250, 40 + 20 * spot, 20 * index % 200)
            truth[area] = 255 * (spot % 2)  # every other spot is only dust
        path = folder / f"{index:02}.png"
        Image.fromarray(picture).save(path)
        samples.append(fo.Sample(filepath=str(path), tags=["good"] if index < GOOD else []))
        samples[-1]["defect_mask"] = fo.Segmentation(mask=truth) if truth.any() else None
    dataset = fo.Dataset(name, persistent=True)
    dataset.add_samples(samples)
    good = dataset.match_tags("good")
    segad.compute_segment_anomalies(dataset, reference=good, embedder="efficientnet", threshold="fpr:0.2")
    return dataset
