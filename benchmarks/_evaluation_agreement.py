"""Whether evaluation agrees with anomalib's metrics of the same maps and masks."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import cv2
import fiftyone as fo
import numpy as np
from _figures import KEY, Row, markdown, stores_in
from fiftyone import ViewField as F

import fiftyone_segad as segad
from fiftyone_segad.data.truth import GT_FIELD, read_truth
from fiftyone_segad.registry.run import Run
from fiftyone_segad.segments.maps import anomaly_map
from fiftyone_segad.utils.images import read_header
from fiftyone_segad.utils.listing import IMAGE_SUFFIXES

SIDE = Path(__file__).with_name("evaluation_anomalib.py")

COMMON_SIZE = 256
"""Side to which images of different sizes are brought: anomalib's metrics need one size."""

VERSIONS = "import importlib.metadata as m; print('anomalib', m.version('anomalib'), 'with torch', m.version('torch'))"

METRICS = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP (AUPR)",
    "image_f1max": "image F1 max",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP (AUPR)",
    "pixel_f1max": "pixel F1 max",
    "aupro_30": "AUPRO 0.3",
    "aupro_05": "AUPRO 0.05",
    "aupimo": "AUPIMO, mean",
}
"""Figures that both sides have, and how the table calls them."""

AGREEMENT = """The same maps and masks, at image size (of images of different sizes: at {common} x {common} px), went
through `evaluate_anomalies` and through the metrics of {versions}. The maps are those of `reference` with its default
embedder.

- AUROC, AP, F1 max and AUPRO are defined alike: anomalib sorts all pixels, `evaluate_anomalies` counts them in 262,144
  bins, and anomalib adds up in single precision. AUPRO of both has 8-connected regions, all normal pixels of all images
  in the false-positive rate, good images included, and interpolates linearly at the limit.
- torchmetrics, below anomalib's AUROC and AUPR, takes scores outside of [0, 1] for logits and applies a sigmoid in
  single precision. The maps were scaled to [0, 1] for it, all together; "unscaled" tells what it makes of them as they
  are.
- AUPIMO: anomalib has 300,000 equidistant thresholds between the lowest and the highest score of the good images,
  begins and ends at those whose false-positive rates are nearest to 1e-5 and 1e-4, joins the points by lines, and
  divides by the whole range. `evaluate_anomalies` has the bins' edges, and a staircase between exactly these rates.
  The mean of both is over the defective images."""


def agreement(folder: Path, python: str) -> Row:
    """Evaluate a folder here, and its maps and masks with anomalib."""
    versions = subprocess.run([python, "-c", VERSIONS], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as scratch, stores_in(Path(scratch) / "runs"):
        dataset = segad.load_mvtec(of_one_size(folder, Path(scratch) / "resized"))
        try:
            test = dataset.match(F("split") == "test")
            run = segad.compute_segment_anomalies(test, key=KEY, reference=dataset.match(F("split") == "train"))
            assert isinstance(run, segad.Run)
            ours = evaluate(test, run, Path(scratch))
        finally:
            dataset.delete()
        done = subprocess.run([python, str(SIDE), scratch], check=True, stdout=subprocess.PIPE, text=True)
    theirs: Row = json.loads(done.stdout.splitlines()[-1])
    theirs["aupimo"] = statistics.mean(each for each in theirs["aupimo_images"] if each is not None)
    return {"versions": versions, "ours": ours, "theirs": theirs}


def of_one_size(folder: Path, copies: Path) -> Path:
    """Return the folder, or a copy of it with images and masks resized, if they have several sizes."""
    files = [file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES]
    if len({read_header(str(file)).size for file in files}) == 1:
        return folder
    for file in files:
        is_mask = "ground_truth" in file.parts
        image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        assert image is not None, file
        interpolation = cv2.INTER_NEAREST_EXACT if is_mask else cv2.INTER_AREA
        resized = cv2.resize(image, (COMMON_SIZE, COMMON_SIZE), interpolation=interpolation)
        copy = (copies / file.relative_to(folder)).with_suffix(".png")
        copy.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(copy), resized)
    return copies


def evaluate(test: fo.DatasetView, run: Run, folder: Path) -> Row:
    """Evaluate a run, and write its maps, masks and image scores to a folder for anomalib."""
    start = time.perf_counter()
    results = segad.evaluate_anomalies(test, key=KEY)
    figures: Row = results.metrics()
    seconds = time.perf_counter() - start
    truths = read_truth(test, GT_FIELD)
    records = [record for record in run.store.scores if record.id in results.images]
    shape = (len(records), *records[0].segments.size[::-1])
    maps = np.lib.format.open_memmap(folder / "maps.npy", "w+", np.float32, shape)
    masks = np.lib.format.open_memmap(folder / "masks.npy", "w+", np.bool_, shape)
    for i, record in enumerate(records):
        maps[i] = anomaly_map(record.segments, record.scores)
        mask = truths[record.id].read(record.segments.size)
        masks[i] = False if mask is None else mask
    maps.flush()
    masks.flush()
    np.save(folder / "scores.npy", [record.image_score for record in records])
    aupimo = [results.images[record.id].aupimo for record in records]
    return {**figures, "aupimo_images": aupimo, "seconds": seconds, "shape": shape}


def agreement_section(figures: dict[str, Row]) -> list[str]:
    """Return the part of the Markdown file about agreement."""
    versions = " and ".join(sorted({row["versions"] for row in figures.values()}))
    parts = ["## Agreement with anomalib", AGREEMENT.format(common=COMMON_SIZE, versions=versions)]
    for folder, row in figures.items():
        ours, theirs = row["ours"], row["theirs"]
        images, height, width = ours["shape"]
        parts += [
            f"### {folder}",
            f"{images} images of {width} x {height} px, {ours['n_normal']} of them good. All metrics took "
            f"`evaluate_anomalies` {ours['seconds']:.0f} s, from the scores of the segments, and anomalib "
            f"{theirs['seconds']:.0f} s and {theirs['peak_mib'] / 1024:.1f} GiB, from the maps in memory.",
            markdown(["", "evaluate_anomalies", "anomalib", "difference"], agreement_rows(ours, theirs)),
        ]
    return parts


def agreement_rows(ours: Row, theirs: Row) -> list[list[str]]:
    """Return the lines of a table."""
    rows = [[title, *compared(ours[name], theirs[name])] for name, title in METRICS.items()]
    pairs = zip(ours["aupimo_images"], theirs["aupimo_images"], strict=True)
    largest = max((pair for pair in pairs if None not in pair), key=lambda pair: abs(pair[0] - pair[1]))
    rows.append(["AUPIMO, of the image with the largest difference", *compared(*largest)])
    for name in ("pixel_auroc", "pixel_ap"):
        rows.append([f"{METRICS[name]}, unscaled", *compared(ours[name], theirs[f"{name}_raw"])])
    return rows


def compared(ours: float, theirs: float) -> list[str]:
    """Return the cells of two figures and their difference."""
    return [f"{ours:.6f}", f"{theirs:.6f}", f"{ours - theirs:+.1e}"]
