"""Parts that two cameras photograph, as a flat and as a grouped dataset."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
from PIL import Image

import fiftyone_segad as segad

CAMERAS = ("left", "right")

NORMALS, GOOD, BAD = 20, 3, 2
"""Parts: normal ones, and good and defective ones to judge. Of the defective ones the first is so on the left only, the
second on the right only."""


def save_part(folder: Path, number: int) -> list[Path]:
    """Save both pictures of a part: noise of two shades of grey, and a red square where it has a defect."""
    paths = []
    for camera, name in enumerate(CAMERAS):
        random = np.random.default_rng([number, camera])
        pixels = np.clip(random.normal(90 + 60 * camera, 12, (64, 64, 3)), 0, 255).astype(np.uint8)
        if number - NORMALS - GOOD == camera:
            pixels[20:40, 20:40] = (250, 20, 20)
        paths.append(folder / f"{name}-{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def _samples(folder: Path) -> list[tuple[int, str, fo.Sample]]:
    rows = []
    for number in range(NORMALS + GOOD + BAD):
        for camera, path in zip(CAMERAS, save_part(folder, number), strict=True):
            defective = number - NORMALS - GOOD == CAMERAS.index(camera)
            mask = np.zeros((64, 64), np.uint8)
            mask[20:40, 20:40] = 255 * defective
            sample = fo.Sample(
                filepath=str(path),
                tags=["good" if number < NORMALS else "test"],
                defect=fo.Classification(label="spot" if defective else "good"),
                defect_mask=fo.Segmentation(mask=mask),
            )
            rows.append((number, camera, sample))
    return rows


def flat_parts(folder: Path) -> fo.Dataset:
    """Make a dataset whose fields ``part_id`` and ``camera`` tell parts and views."""
    dataset = fo.Dataset()
    samples = []
    for number, camera, sample in _samples(folder):
        sample["part_id"], sample["camera"] = f"part {number}", camera
        samples.append(sample)
    dataset.add_samples(samples)
    return dataset


def scored_flat_parts(folder: Path) -> fo.Dataset:
    """Make the same dataset with a run, of which nothing is decided on parts yet."""
    dataset = flat_parts(folder)
    segad.compute_segment_anomalies(
        dataset.match_tags("test"), reference=dataset.match_tags("good"), segments="tiles:0.4:0.2", groups="part_id"
    )
    return dataset


def grouped_parts(folder: Path) -> fo.Dataset:
    """Make a dataset whose groups are parts and whose slices are views."""
    dataset = fo.Dataset()
    dataset.add_group_field("group", default=CAMERAS[0])
    groups: dict[int, fo.Group] = {}
    samples = []
    for number, camera, sample in _samples(folder):
        sample["number"] = number
        sample["group"] = groups.setdefault(number, fo.Group()).element(camera)
        samples.append(sample)
    dataset.add_samples(samples)
    return dataset


def scored_grouped_parts(folder: Path) -> fo.Dataset:
    """Make the same dataset with the runs of both slices, of which nothing is decided on parts yet."""
    dataset = grouped_parts(folder)
    segad.compute_segment_anomalies(
        dataset.match_tags("test"), reference=dataset.match_tags("good"), segments="tiles:0.4:0.2"
    )
    return dataset
