"""Evaluation: does it agree with anomalib's metrics, and what does it cost beside FiftyOne's own evaluation?

    python benchmarks/evaluation.py [--anomalib ENV/bin/python [FOLDER ...]] [--images 500] [--rounds 3]

Speed is measured on images that are made for it: every measurement in a process of its own, in turns, ratios round by
round. Agreement is measured, on folders in MVTec layout, if there is an environment with anomalib, which cannot be this
one: it pins other versions. The tables go to evaluation.md beside this file, all figures to evaluation.json; what is
not measured stays in both as it is.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

import fiftyone_segad as segad
from fiftyone_segad.data.mvtec import IMAGE_SUFFIXES
from fiftyone_segad.data.truth import GOOD, GT_FIELD, read_truth
from fiftyone_segad.registry.fields import zero_mask
from fiftyone_segad.registry.folders import runs_folder
from fiftyone_segad.registry.run import Run, save_run
from fiftyone_segad.scoring.thresholds import Thresholds
from fiftyone_segad.segments.boxes import patch_grid
from fiftyone_segad.segments.maps import anomaly_map
from fiftyone_segad.storage.records import ImageScores
from fiftyone_segad.storage.store import RunStore
from fiftyone_segad.utils.images import read_header
from fiftyone_segad.utils.threads import usable_cores

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDERS = (DATA / "screw", DATA / "magnetic_tile")
TABLES = Path(__file__).with_suffix(".md")
FIGURES = Path(__file__).with_suffix(".json")
SIDE = Path(__file__).with_name("evaluation_anomalib.py")

KEY = "bench"
SIZE = 1024
"""Side of the images that are made."""

PATCHES = 64
"""Segments along a side of them, as many as the embedder ``efficientnet`` has."""

NORMALS = 100
"""Normal images that set the threshold of the made run."""

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

Row = dict[str, Any]
Rounds = dict[str, list[Row]]
"""What was measured, by row and round."""


def metrics_at_hand(dataset: fo.Dataset, subset: int) -> int:
    """All metrics, regions and AUPIMO; nothing is stored."""
    results = segad.evaluate_anomalies(dataset, key=KEY, progress=False)
    results.metrics()
    results.regions()
    return len(results.images)


def stored(dataset: fo.Dataset, subset: int) -> int:
    """Return the same, with fields, error maps and FiftyOne's evaluation of the images on the dataset."""
    return len(segad.evaluate_anomalies(dataset, key=KEY, eval_key="ours", overwrite=True, progress=False).images)


def fiftyone(dataset: fo.Dataset, subset: int, **options: Any) -> int:
    """FiftyOne's own evaluation of the first images' predicted masks."""
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


def main() -> None:
    """Measures, and prints and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*", default=FOLDERS)
    parser.add_argument("--anomalib", metavar="PYTHON", help="interpreter of an environment with anomalib")
    parser.add_argument("--images", type=int, default=500, help="images that are made to measure speed; 0 for none")
    parser.add_argument("--subset", type=int, default=40, help="how many of them FiftyOne evaluates")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=3, metavar=("ROW", "DATASET", "SUBSET"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    fo.config.show_progress_bars = False
    if arguments.measure is not None:
        print(json.dumps(measure(*arguments.measure)))
        return
    figures: Row = json.loads(FIGURES.read_text()) if FIGURES.is_file() else {}
    # Speed first: on Linux a new process starts with the peak memory of the one that started it
    if arguments.images:
        figures["speed"] = speed(arguments.images, min(arguments.subset, arguments.images), arguments.rounds)
        write(figures)
    for folder in arguments.folders if arguments.anomalib else ():
        if not folder.is_dir():
            parser.error(f"no such folder: {folder}")
        figures.setdefault("agreement", {})[folder.resolve().name] = agreement(folder.resolve(), arguments.anomalib)
        write(figures)
    print(TABLES.read_text())


def write(figures: Row) -> None:
    """Write both files."""
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    parts = ["# Evaluation", "Made by `python benchmarks/evaluation.py`."]
    if "speed" in figures:
        parts += speed_section(figures["speed"])
    if "agreement" in figures:
        parts += agreement_section(figures["agreement"])
    TABLES.write_text("\n\n".join(parts) + "\n")


# Speed


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


@contextmanager
def stores_in(folder: Path) -> Iterator[None]:
    """Lets this package keep its files in a folder, also in the processes that are started."""
    before = os.environ.get("FIFTYONE_SEGAD_DIR")
    os.environ["FIFTYONE_SEGAD_DIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["FIFTYONE_SEGAD_DIR"]
        else:
            os.environ["FIFTYONE_SEGAD_DIR"] = before


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
    run = Run(KEY, "reference", "none", {}, Thresholds("0", 0, 0), (0, 1), str(store.folder), "masks", images, NORMALS)
    save_run(dataset, run)
    segad.set_threshold(dataset, KEY, "fpr:0.05", progress=False)
    return dataset


def make_mask(index: int) -> NDArray[np.uint8] | None:
    """Of an odd one one to three ellipses, 255 on 0; None of an even one."""
    if index % 2 == 0:
        return None
    random = np.random.default_rng(index)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for _ in range(random.integers(1, 4)):
        centre, axes = random.integers(64, SIZE - 64, 2).tolist(), random.integers(4, 60, 2).tolist()
        cv2.ellipse(mask, centre, axes, int(random.integers(180)), 0, 360, 255, -1)
    return mask


def make_scores(id: str, mask: NDArray[np.uint8] | None, random: np.random.Generator) -> ImageScores:
    """Smooth noise, higher on defects: on most so much that they are found."""
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
    command = [sys.executable, __file__, "--measure", name, dataset, str(subset)]
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
    """CPU seconds that all processes of the machine have used."""
    times = importlib.import_module("psutil").cpu_times()  # FiftyOne needs it
    return float(times.user + times.system)


def peak_mib() -> float:
    """Most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


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
        [name, spread([per_image(theirs) / per_image(ours) for ours, theirs in pairs(measured, *rows)])]
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
    """Two rows, round by round."""
    return list(zip(measured[ours], measured[theirs], strict=True))


def per_image(row: Row) -> float:
    """Seconds an image."""
    return float(row["seconds"] / row["images"])


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return the median, with the lowest and highest value if there are several."""
    shown = f"{statistics.median(values):.{digits}f}"
    return f"{shown} [{min(values):.{digits}f}, {max(values):.{digits}f}]" if len(values) > 1 else shown


# Agreement


def agreement(folder: Path, python: str) -> Row:
    """Evaluate a folder here, and its maps and masks with anomalib."""
    versions = subprocess.run([python, "-c", VERSIONS], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as scratch, stores_in(Path(scratch) / "runs"):
        dataset = segad.load_mvtec(of_one_size(folder, Path(scratch) / "resized"))
        try:
            test = dataset.match(F("split") == "test")
            run = segad.compute_segment_anomalies(test, key=KEY, reference=dataset.match(F("split") == "train"))
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
    """Evaluate a run, and writes its maps, masks and image scores to a folder for anomalib."""
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
    """Two figures and their difference."""
    return [f"{ours:.6f}", f"{theirs:.6f}", f"{ours - theirs:+.1e}"]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    return "\n".join([f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(r)} |" for r in rows)])


if __name__ == "__main__":
    main()
