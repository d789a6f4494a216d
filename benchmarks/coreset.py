"""How many normal images are enough, and does it matter which? Accuracy against their number, chosen and at random.

    python benchmarks/coreset.py [FOLDER ...] [--random 2]

For each folder in MVTec layout `select_coreset` puts the training images in order, and the test images are compared
with the first k of them, and with k at random. The features of an image are computed once. The tables go to coreset.md
beside this file; those of folders that are not measured stay in it.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
from _remembering import forget, remember
from fiftyone import ViewField as F

import fiftyone_segad as segad
from fiftyone_segad.embedders.efficientnet import INPUT_SIZE
from fiftyone_segad.utils.threads import usable_cores

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TABLE = Path(__file__).with_suffix(".md")

COUNTS = {"screw": (10, 25, 50), "magnetic_tile": (25, 50, 200)}
"""Numbers of normal images by folder; all of them come last."""

INPUT_SIZES = {"magnetic_tile": 256}
"""Input of the network in pixels by folder, elsewhere its default: these images are small, and there are many."""

FIGURES = ("image_auroc", "pixel_auroc", "aupro_30")

LEGEND = """Image AUROC / pixel AUROC / AUPRO of the test images, compared with `k` of the training images: those that
`select_coreset` chooses, and random ones (mean of several choices, and lowest to highest image AUROC). With all of them
there is nothing to choose."""


def main() -> None:
    """Print the table and writes it to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[DATA / name for name in COUNTS])
    parser.add_argument("--random", type=int, default=2, help="random choices of each number")
    arguments = parser.parse_args()
    fo.config.show_progress_bars = False
    remember()
    for folder in arguments.folders:
        start = time.perf_counter()
        section = table(folder.resolve(), arguments.random)
        section += f"\n\n{time.perf_counter() - start:.0f} s on {usable_cores()} cores for all of it."
        print(section + "\n", flush=True)
        known = TABLE.read_text().strip().split("\n\n## ")[1:] if TABLE.is_file() else []
        sections = {each.splitlines()[0]: f"## {each}" for each in known}
        sections[folder.name] = section
        parts = ["# Choosing normal images", "Made by `python benchmarks/coreset.py`.", LEGEND, *sections.values()]
        TABLE.write_text("\n\n".join(parts) + "\n")
        forget()


def table(folder: Path, times: int) -> str:
    """Return the table of one folder."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["FIFTYONE_SEGAD_DIR"] = scratch
        dataset = segad.load_mvtec(folder)
        try:
            test, normals = dataset.match(F("split") == "test"), dataset.match(F("split") == "train")
            total = len(normals)
            options = {"input_size": INPUT_SIZES.get(folder.name, INPUT_SIZE)}
            counts = [k for k in COUNTS.get(folder.name, (10, 25, 50, 100)) if k < total]
            start = time.perf_counter()
            chosen = segad.select_coreset(normals, max(counts), embedder_kwargs=options).values("id")
            seconds = time.perf_counter() - start
            ids = normals.values("id")
            rows = [row(test, options, k, [chosen[:k]], sampled(ids, k, times)) for k in counts]
            rows.append(row(test, options, total, [ids], []))
        finally:
            dataset.delete()
    head = (
        f"## {folder.name}\n\n{total} training images; choosing {max(counts)} of them took {seconds:.0f} s, features "
        f"included. Input {options['input_size']} px, {times} random choices of each number.\n"
    )
    return "\n".join([head, "| k | chosen | random | random, image AUROC |", "| --- | --- | --- | --- |", *rows])


def sampled(ids: Sequence[str], k: int, times: int) -> list[list[str]]:
    """Draw random choices of k."""
    return [random.Random(seed).sample(list(ids), k) for seed in range(times)]  # noqa: S311


def row(test: Any, options: dict[str, int], k: int, chosen: list[list[str]], drawn: list[list[str]]) -> str:
    """Return a line of the table."""
    figures = [measure(test, options, ids) for ids in [*chosen, *drawn]]
    ours, theirs = figures[: len(chosen)], figures[len(chosen) :]
    aurocs = [each["image_auroc"] for each in theirs]
    spread = f"{min(aurocs):.3f} to {max(aurocs):.3f}" if aurocs else "-"
    line = f"| {k} | {shown(ours)} | {shown(theirs)} | {spread} |"
    print(line, flush=True)
    return line


def measure(test: Any, options: dict[str, int], ids: list[str]) -> dict[str, float]:
    """Measure one choice of normal images."""
    reference = test._root_dataset.select(ids)
    segad.compute_segment_anomalies(
        test, "bench", reference=reference, embedder_kwargs=options, rotations=1, overwrite=True
    )
    metrics = segad.evaluate_anomalies(test, key="bench").metrics()
    return {name: float(metrics[name] or 0) for name in FIGURES}


def shown(figures: list[dict[str, float]]) -> str:
    """Return the means of several measurements."""
    if not figures:
        return "-"
    return " / ".join(f"{statistics.mean(each[name] for each in figures):.3f}" for name in FIGURES)


if __name__ == "__main__":
    main()
