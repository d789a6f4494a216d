"""One image on the line beside the network's own time, and how soon the first one can come. Writes line.md.

    python benchmarks/line.py [FOLDER] [--bank FILE] [--rounds 3]

FOLDER is a category in MVTec layout. Network and inspector take turns, image by image, and the ratio is taken pair by
pair. "Network" is ONNX Runtime on the resized image alone. A start is a process of its own from nothing to the first
decision, and counts imports, the bank with its search index, and the network. Processor time, of all cores together, is
given besides wall time, since other work on the machine changes it less.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
from _figures import KEY, markdown, spread
from fiftyone import ViewField as F

import fiftyone_segad as segad
from fiftyone_segad.embedders.efficientnet import EfficientNetEmbedder
from fiftyone_segad.utils.images import read_image
from fiftyone_segad.utils.threads import usable_cores

Times = tuple[float, float]
"""Seconds of wall time and of processor time."""

Pairs = dict[str, list[tuple[Times, Times]]]
"""Times of the network and of all of it, by what is asked."""

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "screw"

START = """
import sys, time
start = time.perf_counter()
import fiftyone_segad as segad
inspector = segad.load_bank(sys.argv[1])
loaded = time.perf_counter() - start
inspector(sys.argv[2]).anomalous
print(loaded, time.perf_counter() - start, time.process_time())
"""


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="?", default=FOLDER)
    parser.add_argument("--bank", metavar="FILE", type=Path, help="a bank of the folder; by default it is computed")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    images = sorted(map(str, options.folder.glob("test/*/*.png")))[:20]
    with tempfile.TemporaryDirectory() as scratch:
        bank = options.bank or make_bank(options.folder, Path(scratch) / "bank.safetensors")
        starts = [start_of(bank, images[0]) for _ in range(options.rounds)]
        with segad.load_bank(bank) as inspector:
            rows = [len(level.rows) for level in inspector.bank.levels]
            pairs = measure(inspector, images, options.rounds)
    height, width = read_image(images[0]).shape[:2]
    names = ("until the bank is loaded", "until the first decision", "processor time until then")
    seconds_by_name = zip(names, zip(*starts, strict=True), strict=True)
    text = [
        f"`python benchmarks/line.py`: {len(images)} images of {width} x {height} px, {usable_cores()} cores, a bank "
        f"of {', '.join(f'{count:,}' for count in rows)} rows.",
        markdown(["", "network, ms", "in all, ms", "ratio (median of pairs)", "ratio of processor time"], table(pairs)),
        markdown(["from a new process", "s"], [[name, spread(values, 2)] for name, values in seconds_by_name]),
    ]
    Path(__file__).with_suffix(".md").write_text("\n\n".join(["# On the line", *text]) + "\n")
    print("\n\n".join(text))


def make_bank(folder: Path, file: Path) -> Path:
    """Save the bank of a run with the default settings."""
    dataset = segad.load_mvtec(folder)
    try:
        normals = dataset.match(F("split") == "train")
        segad.compute_segment_anomalies(dataset.match(F("split") == "test").limit(1), key=KEY, reference=normals)
        return segad.save_bank(dataset, KEY, file)
    finally:
        if KEY in segad.list_runs(dataset):
            segad.delete_run(dataset, KEY)
        dataset.delete()


def start_of(bank: Path, image: str) -> list[float]:
    """Return the seconds until a new process has loaded a bank, and until it has decided on an image."""
    command = [sys.executable, "-c", START, str(bank), image]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    return list(map(float, done.stdout.split()))


def measure(inspector: segad.Inspector, images: list[str], rounds: int) -> Pairs:
    """Return the times of the network and of all of it, by what is asked, for each image and round."""
    embedder = inspector._embedder
    assert isinstance(embedder, EfficientNetEmbedder)
    side = embedder.input_size

    def everything(image: Any) -> None:
        result = inspector(image)
        _ = result.map, result.mask, result.regions

    pairs: Pairs = {}
    for number in range(rounds + 1):
        for path in images:
            pixels = read_image(path)
            resized = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)[None]
            cases: dict[str, Callable[[], Any]] = {
                "array to decision": lambda: inspector(pixels).anomalous,  # noqa: B023 - called at once
                "array to decision, map, mask and regions": lambda: everything(pixels),  # noqa: B023
                "file to decision": lambda: inspector(path).anomalous,  # noqa: B023
            }
            for name, case in cases.items():
                pair = seconds(lambda: embedder._run(resized)), seconds(case)  # noqa: B023
                if number:  # the first round warms up
                    pairs.setdefault(name, []).append(pair)
    return pairs


def seconds(work: Callable[[], Any]) -> Times:
    """Return the seconds of wall and of processor time that a function takes."""
    start = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def table(pairs: Pairs) -> list[list[str]]:
    """Return the rows of the table."""
    rows = []
    for name, values in pairs.items():
        wall = [1000 * statistics.median(pair[i][0] for pair in values) for i in range(2)]
        ratios = [statistics.median(whole[i] / network[i] for network, whole in values) for i in range(2)]
        rows.append([name, *(f"{value:.0f}" for value in wall), *(f"{ratio:.2f}" for ratio in ratios)])
    return rows


if __name__ == "__main__":
    main()
