"""What evaluation costs, beside FiftyOne's own, on images that are made for it."""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import fiftyone as fo
import numpy as np
from _figures import KEY, Rounds, Row, markdown, peak_mib, spread, stores_in
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

import fiftyone_segad as segad
from fiftyone_segad.data.truth import GOOD, GT_FIELD
from fiftyone_segad.registry.fields import zero_mask
from fiftyone_segad.registry.folders import runs_folder
from fiftyone_segad.registry.run import Run, save_run
from fiftyone_segad.scoring.thresholds import Thresholds
from fiftyone_segad.segments.boxes import patch_grid
from fiftyone_segad.segments.maps import anomaly_map
from fiftyone_segad.storage.records import ImageScores
from fiftyone_segad.storage.store import RunStore
from fiftyone_segad.utils.threads import usable_cores

SCRIPT = Path(__file__).with_name("evaluation.py")
SIZE = 1024
"""Side of the images that are made."""

PATCHES = 64
"""Segments along a side of them, as many as the embedder ``efficientnet`` has."""

NORMALS = 100
"""Normal images that set the threshold of the made run."""


def metrics_at_hand(dataset: fo.Dataset, subset: int) -> int:
    """Compute all metrics, regions and AUPIMO; store nothing."""
    results = segad.evaluate_anomalies(dataset, key=KEY, progress=False)
    results.metrics()
    results.regions()
    return len(results.images)


def stored(dataset: fo.Dataset, subset: int) -> int:
    """Return the same, with fields, error maps and FiftyOne's evaluation of the images on the dataset."""
    return len(segad.evaluate_anomalies(dataset, key=KEY, eval_key="ours", overwrite=True, progress=False).images)


def fiftyone(dataset: fo.Dataset, subset: int, **options: Any) -> int:
    """Let FiftyOne evaluate the first images' predicted masks."""
    view = dataset[:subset]
    view.evaluate_segmentations(f"{KEY}_mask", gt_field=GT_FIELD, progress=False, **options)
    return len(view)


TARGETS = {0: "background", 255: "defect"}

ROWS: dict[str, Callable[[fo.Dataset, int], int]] = {
    "evaluate_anomalies": metrics_at_hand,
    "evaluate_segmentations, classes given": lambda dataset, subset: fiftyone(dataset, subset, mask_targets=TARGETS),
    "evaluate_anomalies, stored": stored,
    "evaluate_segmentations, classes given, stored": lambda dataset, subset: fiftyone(
        dataset, subset, mask_targets=TARGETS, eval_key="theirs"
    ),
    "evaluate_segmentations, as it comes": fiftyone,
}
"""What is timed on the dataset, of all images or the first ones; gives how many these were."""

PAIRS = {
    "nothing stored": ("evaluate_anomalies", "evaluate_segmentations, classes given"),
    "stored on the dataset": ("evaluate_anomalies, stored", "evaluate_segmentations, classes given, stored"),
    "nothing stored, FiftyOne looks for the classes itself": (
        "evaluate_anomalies",
        "evaluate_segmentations, as it comes",
    ),
}
"""Rows that are compared."""

SPEED = """{images} images of {size} x {size} px were made, every other one with one to three elliptic defects; the good
ones have a zero mask, as `load_mvtec` gives them. Their run has {patches} x {patches} segments an image.
`evaluate_anomalies` computes its maps at image size and all that `metrics()` and `regions()` give: AUROC, AP and F1 of
images and pixels, AUPRO, AUPIMO, regions by size. FiftyOne's `evaluate_segmentations` counts the pixels of the
predicted masks by class; it is timed on the first {subset} images. Told the classes (`mask_targets`) it need not read
all masks once more to find them. "Stored" is with an `eval_key`.

Each measurement is a process of its own, imports not counted; {rounds} round(s) in which the rows take turns, medians
[lowest, highest]. "Others" is what all other processes of the machine used meanwhile, in cores: FiftyOne's database,
and whatever disturbed. Peak memory is that of the process (`ru_maxrss`), imports included. {cores} cores; the load
average at the start was {load:.1f}."""


def speed(images: int, subset: int, rounds: int) -> Row:
    """Time all rows in turns on a dataset that is made for it."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch, stores_in(Path(scratch) / "runs"):
        dataset = make_dataset(Path(scratch), images)
        measured: Rounds = {name: [] for name in ROWS}
        try:
            for _ in range(rounds):
                for name in ROWS:
                    measured[name].append(measure_apart(name, dataset.name, subset))
        finally:
            dataset.delete()
    return {"images": images, "subset": subset, "load": load, "cores": usable_cores(), "rounds": measured}


def make_dataset(folder: Path, images: int) -> fo.Dataset:
    """Make a dataset of normal and defective images in turn, with a run. All share one picture, which nobody reads."""
    picture = folder / "picture.png"
    Image.new("L", (SIZE, SIZE), 128).save(picture)
    dataset = fo.Dataset()
    samples = []
    for i in range(images):
        mask = make_mask(i)
        file = folder / f"mask{i}.png" if mask is not None else zero_mask(folder, SIZE, SIZE)
        if mask is not None:
            Image.fromarray(mask).save(file)
        sample = fo.Sample(str(picture), defect=fo.Classification(label=GOOD if mask is None else "ellipse"))
        sample[GT_FIELD] = fo.Segmentation(mask_path=str(file))
        samples.append(sample)
    dataset.add_samples(samples, progress=False)
    dataset.mask_targets = {GT_FIELD: TARGETS}
    dataset.save()
    store = RunStore.create(runs_folder(dataset, KEY) / "made", {})
    random = np.random.default_rng(0)
    for i, sample in enumerate(samples):
        store.scores.add(make_scores(sample.id, make_mask(i), random))
    for i in range(NORMALS):
        store.normals.add(make_scores(f"normal{i}", None, random))
    store.scores.flush()
    store.normals.flush()
    settings: Row = {
        **{"method": "reference", "embedder": "none", "segments": None, "defects": "any"},
        **{"embedder_kwargs": {}, "bank_size": None, "seed": 0},
    }
    run = Run(
        KEY,
        "reference",
        "none",
        settings,
        Thresholds("0", 0, 0),
        (0, 1),
        str(store.folder),
        "masks-00000000",
        images,
        NORMALS,
    )
    save_run(dataset, run)
    segad.set_threshold(dataset, KEY, "fpr:0.05", progress=False)
    return dataset


def make_mask(index: int) -> NDArray[np.uint8] | None:
    """Draw one to three ellipses, 255 on 0; return None for an even index."""
    if index % 2 == 0:
        return None
    random = np.random.default_rng(index)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for _ in range(random.integers(1, 4)):
        centre, axes = random.integers(64, SIZE - 64, 2).tolist(), random.integers(4, 60, 2).tolist()
        cv2.ellipse(mask, centre, axes, int(random.integers(180)), 0, 360, 255, -1)
    return mask


def make_scores(id: str, mask: NDArray[np.uint8] | None, random: np.random.Generator) -> ImageScores:
    """Make scores of smooth noise, higher on defects: on most so much that they are found."""
    noise = ndimage.gaussian_filter(random.normal(size=(PATCHES, PATCHES)), 1.5)
    scores = noise / noise.std()
    if mask is not None:
        coverage = cv2.resize(mask, (PATCHES, PATCHES), interpolation=cv2.INTER_AREA).astype(float)
        near = ndimage.gaussian_filter(coverage, 1)
        scores += random.uniform(1, 10) * near / near.max()
    values = scores.ravel().astype(np.float32)
    segments = patch_grid((SIZE, SIZE), PATCHES, PATCHES)
    return ImageScores(id, segments, values, np.zeros(len(values), bool), float(anomaly_map(segments, values).max()))


def measure_apart(name: str, dataset: str, subset: int) -> Row:
    """Time a row in a process of its own."""
    command = [sys.executable, str(SCRIPT), "--measure", name, dataset, str(subset)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row: Row = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {row['seconds']:.1f} s for {row['images']} images", file=sys.stderr, flush=True)
    return row


def measure(name: str, dataset_name: str, subset: str) -> Row:
    """Time a row here."""
    dataset = fo.load_dataset(dataset_name)
    imported = peak_mib()
    all_before, own_before, start = machine_cpu(), time.process_time(), time.perf_counter()
    images = ROWS[name](dataset, int(subset))
    seconds, own = time.perf_counter() - start, time.process_time() - own_before
    return {
        "images": images,
        "seconds": seconds,
        "cpu": own,
        "others": max(machine_cpu() - all_before - own, 0) / seconds,
        "imported_mib": imported,
        "peak_mib": peak_mib(),
    }


def machine_cpu() -> float:
    """Return the CPU seconds that all processes of the machine have used."""
    times = importlib.import_module("psutil").cpu_times()  # FiftyOne needs it
    return float(times.user + times.system)


def speed_section(figures: Row) -> list[str]:
    """Return the part of the Markdown file about speed."""
    measured: Rounds = figures["rounds"]
    legend = SPEED.format(
        **{name: figures[name] for name in ("images", "subset", "load", "cores")},
        size=SIZE,
        patches=PATCHES,
        rounds=len(measured["evaluate_anomalies"]),
    )
    head = ["", "images", "seconds", "images/s", "CPU s / image", "others, cores", "peak MiB (imports)"]
    ratios = [
        [name, spread([per_image(theirs) / per_image(ours) for ours, theirs in pairs(measured, *rows)], 1)]
        for name, rows in PAIRS.items()
    ]
    return [
        "## Speed",
        legend,
        markdown(head, [[name, *speed_cells(rows)] for name, rows in measured.items()]),
        markdown(["seconds an image", "times faster than FiftyOne: median [lowest, highest]"], ratios),
    ]


def speed_cells(rounds: list[Row]) -> list[str]:
    """Return a line of the table, without its name."""
    middle = {name: statistics.median(row[name] for row in rounds) for name in rounds[0]}
    return [
        str(rounds[0]["images"]),
        spread([row["seconds"] for row in rounds], 1),
        f"{1 / per_image(middle):.1f}",
        f"{middle['cpu'] / middle['images']:.3f}",
        f"{middle['others']:.1f}",
        f"{middle['peak_mib']:.0f} ({middle['imported_mib']:.0f})",
    ]


def pairs(measured: Rounds, ours: str, theirs: str) -> list[tuple[Row, Row]]:
    """Pair two rows round by round."""
    return list(zip(measured[ours], measured[theirs], strict=True))


def per_image(row: Row) -> float:
    """Return the seconds per image."""
    return float(row["seconds"] / row["images"])
