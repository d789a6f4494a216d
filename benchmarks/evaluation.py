"""Evaluation: does it agree with anomalib's metrics, and what does it cost beside FiftyOne's own evaluation?

    python benchmarks/evaluation.py [--anomalib ENV/bin/python [FOLDER ...]] [--images 500] [--rounds 3]

Speed is measured on images that are made for it: every measurement in a process of its own, in turns, ratios round by
round. Agreement is measured, on folders in MVTec layout, if there is an environment with anomalib, which cannot be this
one: it pins other versions. The tables go to evaluation.md beside this file, all figures to evaluation.json; what is
not measured stays in both as it is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import fiftyone as fo
from _evaluation_agreement import agreement, agreement_section
from _evaluation_speed import measure, speed, speed_section
from _figures import Row

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDERS = (DATA / "screw", DATA / "magnetic_tile")
TABLES = Path(__file__).with_suffix(".md")
FIGURES = Path(__file__).with_suffix(".json")


def main() -> None:
    """Measure, and print and write the tables."""
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


if __name__ == "__main__":
    main()
