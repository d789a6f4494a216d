"""Accuracy and cost of the methods on folders in MVTec layout.

    python benchmarks/accuracy.py [FOLDER ...] [--rows NAME ...]

Every row is a run of its own on a new dataset in a process of its own (for its peak memory), through the public
functions and the database. The tables go to accuracy.md beside this file, all figures to accuracy.json. With --rows
only these rows are measured, and the others stay in both files as they are; without it both begin anew.

Intervals are 95 % of a bootstrap over the test images, drawn with replacement among the good and among the defective
ones. They tell how far figures may be off because the test images are few, nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fiftyone_segad.scoring import neighbors
from fiftyone_segad.storage.store import RunStore

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDERS = (DATA / "screw", DATA / "magnetic_tile")
TABLES = Path(__file__).with_suffix(".md")
FIGURES = Path(__file__).with_suffix(".json")

ROWS: dict[str, dict[str, Any]] = {
    "within_image": {"method": "within_image", "embedder": "auto"},
    "reference/fastdup": {"method": "reference", "embedder": "fastdup"},
    "reference/efficientnet": {"method": "reference", "embedder": "auto"},
    "reference/efficientnet, bank_size=2**20": {"method": "reference", "embedder": "auto", "bank_size": 2**20},
    "reference/efficientnet, defects=small": {"method": "reference", "embedder": "efficientnet", "defects": "small"},
    "reference/efficientnet, defects=large": {"method": "reference", "embedder": "efficientnet", "defects": "large"},
    "reference/efficientnet, rotations=4": {"method": "reference", "embedder": "efficientnet", "rotations": 4},
    "reference/fastdup+efficientnet": {"method": "reference", "embedder": "fastdup+efficientnet"},
    "unlabeled/efficientnet": {"method": "unlabeled", "embedder": "auto"},
    "reference/efficientnet, exact search": {"method": "reference", "embedder": "auto"},
    "unlabeled/efficientnet, exact search": {"method": "unlabeled", "embedder": "auto"},
}
"""Arguments of compute_segment_anomalies by name of the row, in the order of the table."""

EXACT = tuple(name for name in ROWS if name.endswith("exact search"))
"""Rows whose banks are searched exhaustively, to see what the index costs; they take long."""

OPTIONAL = ("reference/efficientnet, bank_size=2**20", "reference/efficientnet, rotations=4", *EXACT)
"""Rows that are measured only if they are named."""

LEGEND = """Image AUROC, average precision and best F1 are of images; pixel AUROC, pixel F1 and AUPRO (overlap by region
up to a false-positive rate of 0.3 and 0.05) are at image resolution. In brackets: 95 % bootstrap intervals over the
test images. Best F1 has seen the truth; recall and fpr are of images at the run's own threshold. Metrics are over the
test split; "unlabeled" was given train and test together, without labels. Processor seconds per image are those of
compute_segment_anomalies on all its cores together, the database's own not included, by all images that it read (scored
and normal ones); unlike wall times they hardly depend on what else the machine does. Bank rows are the features kept at
the finest level, before a coreset. Peak MiB is that of the process."""

COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "run": lambda row: row["run"],
    "image AUROC": lambda row: interval(row, "image_auroc"),
    "image AP": lambda row: number(row["image_ap"]),
    "image F1 max": lambda row: number(row["image_f1max"]),
    "pixel AUROC": lambda row: interval(row, "pixel_auroc"),
    "pixel F1 max": lambda row: number(row["pixel_f1max"]),
    "AUPRO 0.3": lambda row: interval(row, "aupro_30"),
    "AUPRO 0.05": lambda row: number(row["aupro_05"]),
    "recall": lambda row: number(row["recall"]),
    "fpr": lambda row: number(row["fpr"]),
    "processor s / image": lambda row: number(row["processor_seconds_per_image"], 2),
    "bank rows": lambda row: "-" if row["bank_rows"] is None else f"{row['bank_rows']:,}",
    "peak MiB": lambda row: f"{row['peak_mib']:.0f}",
}
"""How the columns of a table show the figures of a row."""

Figures = dict[str, dict[str, dict[str, Any]]]
"""All figures by folder and row."""


def main() -> None:
    """Measure, and print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*", default=FOLDERS)
    parser.add_argument("--rows", metavar="NAME", nargs="+", choices=list(ROWS), help=f"one of: {'; '.join(ROWS)}")
    parser.add_argument("--measure", choices=list(ROWS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folders = [folder.resolve() for folder in arguments.folders]
    if arguments.measure is not None:
        print(json.dumps(measure(folders[0], arguments.measure)))
        return
    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        parser.error(f"no such folder: {', '.join(missing)}")
    if len({folder.name for folder in folders}) < len(folders):
        parser.error("two folders have the same name")
    figures: Figures = {}
    if arguments.rows is not None and FIGURES.is_file():
        figures = json.loads(FIGURES.read_text())
    chosen = [name for name in ROWS if (name in arguments.rows if arguments.rows else name not in OPTIONAL)]
    for folder in folders:
        for i, name in enumerate(chosen):
            row = measure_apart(folder, name)
            figures.setdefault(folder.name, {})[name] = row
            FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
            TABLES.write_text(tables(figures))
            if i == 0:
                print(f"{heading(folder.name, row)}\n\n{table_head()}")
            print(table_row(row), flush=True)
        print()


def measure_apart(folder: Path, name: str, script: str = __file__) -> dict[str, Any]:
    """Have a script measure one row in a process of its own; the files of its run are removed afterwards."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, script, str(folder), "--measure", name]
        environment = {**os.environ, "FIFTYONE_SEGAD_DIR": scratch}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def measure(folder: Path, name: str) -> dict[str, Any]:
    """Run and evaluate one row."""
    import fiftyone as fo
    from fiftyone import ViewField as F

    import fiftyone_segad as segad
    from fiftyone_segad.utils.threads import usable_cores

    fo.config.show_progress_bars = False
    asked = ROWS[name]
    if name in EXACT:
        neighbors.EXACT_ROWS = sys.maxsize
    dataset = segad.load_mvtec(folder)
    try:
        test, normals = dataset.match(F("split") == "test"), dataset.match(F("split") == "train")
        reference = normals if asked["method"] == "reference" else None
        start = time.process_time()
        run = segad.compute_segment_anomalies(
            dataset if asked["method"] == "unlabeled" else test, key="bench", reference=reference, **asked
        )
        processor = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        results = segad.evaluate_anomalies(test, key="bench")
        read = run.scored + run.normals
        assert isinstance(run, segad.Run)
        return {
            "run": f"{name} (auto = {run.embedder})" if asked["embedder"] == "auto" else name,
            "train_images": len(normals),
            "images": run.scored,
            "normals": run.normals,
            "skipped": len(run.skipped),
            **results.metrics(),
            "intervals": results.intervals(),
            "threshold": run.thresholds.image,
            "threshold_rule": run.thresholds.rule,
            "processor_seconds_per_image": processor / read,
            "bank_rows": bank_rows(run.store),
            "peak_mib": peak,
            "cores": usable_cores(),
        }
    finally:
        dataset.delete()


def bank_rows(store: RunStore) -> int | None:
    """Count the features kept of the images to compare with, at the finest level; return None if there is no bank."""
    totals = [np.array([len(rows) for rows in image.features]) for image in store.bank]
    return int(np.sum(totals, axis=0).max()) if totals else None


def tables(figures: Figures) -> str:
    """Return the Markdown file of all figures."""
    parts = ["# Accuracy and cost", "Made by `python benchmarks/accuracy.py`.", LEGEND]
    for folder, rows in figures.items():
        shown = [rows[name] for name in ROWS if name in rows]
        parts += [heading(folder, shown[0]), "\n".join([table_head(), *map(table_row, shown)])]
    return "\n\n".join(parts) + "\n"


def heading(folder: str, row: dict[str, Any]) -> str:
    """Return the title of a folder's table."""
    return (
        f"## {folder}\n\n{row['train_images']} images to train on; {row['n_normal']} good and {row['n_anomalous']} "
        "defective ones to test on."
    )


def table_head() -> str:
    """Return the first two lines of a table."""
    return f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}"


def table_row(row: dict[str, Any]) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(show(row) for show in COLUMNS.values())} |"


def number(value: float | None, digits: int = 3) -> str:
    """Return a figure as the table shows it; one that does not exist is a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval(row: dict[str, Any], name: str) -> str:
    """Return a figure with its interval."""
    bounds = row["intervals"].get(name)
    return number(row[name]) + (f" [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else "")


if __name__ == "__main__":
    main()
