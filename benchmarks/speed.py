"""One picture from file to outlier segments: the in-memory engine beside the real fastdup, in one run.

    python benchmarks/speed.py [IMAGE] [--grid 7] [--rounds 5]

Both are timed in turns, so that a drift of the machine's speed falls on both, and the ratio is taken pair by pair.
"Warm" is within one process that has fastdup imported and its model loaded where that is possible; "cold" is a
process of its own, imports counted. Writing the segments to files belongs to what real fastdup needs.
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

from _native import FastdupNativeEmbedder

from fiftyone_segad.embedders.fastdup import FastdupEmbedder
from fiftyone_segad.scoring.fastdup_rule import find_outliers
from fiftyone_segad.segments.boxes import grid
from fiftyone_segad.utils.images import read_image

IMAGE = Path(__file__).resolve().parents[2] / "shared" / "data" / "blog" / "016.png"

COLD_CORE = """
import sys
from fiftyone_segad.engine.single_image import find_outlier_segments
print(find_outlier_segments(sys.argv[1], segments=f"grid:{sys.argv[2]}").outliers.indices.tolist())
"""

COLD_FASTDUP = """
import os, sys
os.environ["SENTRY_OPT_OUT"] = "1"
import fastdup
from PIL import Image
image, n, folder = Image.open(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
width, height = image.width // n, image.height // n
os.makedirs(folder + "/segments")
for i in range(n * n):
    x, y = i % n * width, i // n * height
    image.crop((x, y, x + width, y + height)).save(f"{folder}/segments/{i}.png")
segments = fastdup.create(input_dir=folder + "/segments", work_dir=folder + "/work")
segments.run(overwrite=True, print_summary=False)
print(segments.outliers()["filename_outlier"].tolist())
"""


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path, nargs="?", default=IMAGE)
    parser.add_argument("--grid", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    image, n = str(arguments.image), arguments.grid

    print("| one picture, file to outliers | in memory, s | real fastdup, s | ratio (median of pairs) |")
    print("| --- | --- | --- | --- |")
    with FastdupEmbedder() as core, FastdupNativeEmbedder() as native:

        def warm_core() -> None:
            pixels = read_image(image)
            find_outliers(core.embed(pixels, grid((pixels.shape[1], pixels.shape[0]), n)))

        def warm_fastdup() -> None:
            pixels = read_image(image)
            native.find_outliers(pixels, grid((pixels.shape[1], pixels.shape[0]), n))

        compare(f"warm process, {n} x {n}", warm_core, warm_fastdup, arguments.rounds)

    def cold_core() -> None:
        run([sys.executable, "-c", COLD_CORE, image, str(n)])

    def cold_fastdup() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run([sys.executable, "-c", COLD_FASTDUP, image, str(n), folder])

    compare(f"process of its own, {n} x {n}", cold_core, cold_fastdup, arguments.rounds)


def compare(name: str, ours: Callable[[], None], theirs: Callable[[], None], rounds: int) -> None:
    """Time two functions in turns after one turn that does not count, and prints a row."""
    times = [(timed(ours), timed(theirs)) for _ in range(rounds + 1)][1:]
    ratio = statistics.median(b / a for a, b in times)
    middle = [statistics.median(column) for column in zip(*times, strict=True)]
    print(f"| {name} | {middle[0]:.2f} | {middle[1]:.2f} | {ratio:.1f} |", flush=True)


def timed(work: Callable[[], None]) -> float:
    """Return the seconds that a function takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run(command: list[str]) -> None:
    """Run a process to its end, and throw its output away."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
