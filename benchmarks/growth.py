"""Time and memory of a run against the number of images: the first grows with it, the second does not.

    python benchmarks/growth.py [--images 500 10000] [--input-size 128] [--side 256]

Made images, 50 normal ones besides, the default embedder at a small input. Each run is a process of its own, database
and files included. "Decode and model" is the share of the wall time in which an image was waited for or in the network;
"search" goes on beside that. Peak memory is that of the process; MongoDB's is not counted.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

NORMALS = 50


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[500, 10_000])
    parser.add_argument("--input-size", type=int, default=128)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once is not None:
        measure(options.once, options.images[0], options.input_size)
        return
    print(f"Images of {options.side} px, input of {options.input_size} px\n")
    print("| images | s / image | processor s / image | decode and model | search | peak MiB |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        make_images(Path(scratch), max(options.images) + NORMALS, options.side)
        for count in options.images:
            arguments = ["--images", str(count), "--input-size", str(options.input_size), "--once", scratch]
            subprocess.run([sys.executable, __file__, *arguments], check=True)


def make_images(folder: Path, count: int, side: int) -> None:
    """Write textures that all differ; one in twenty has a bright spot."""
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(random.integers(80, 170, (24, 24, 3), dtype=np.uint8))
        picture = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).copy()
        if number >= NORMALS and number % 20 == 0:
            x, y = random.integers(0, side - 16, 2)
            picture[y : y + 16, x : x + 16] = 255
        Image.fromarray(picture).save(folder / f"{number:06d}.jpg", quality=92)


def measure(folder: Path, count: int, input_size: int) -> None:
    """Score images in this process and print a row."""
    import fiftyone as fo

    import fiftyone_segad as segad

    files = sorted(folder.glob("*.jpg"))[: NORMALS + count]
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=str(file)) for file in files], progress=False)
    dataset.limit(NORMALS).tag_samples("good")
    start, used = time.perf_counter(), time.process_time()
    run = segad.compute_segment_anomalies(
        dataset.skip(NORMALS),
        reference=dataset.match_tags("good"),
        rotations=1,
        embedder_kwargs={"input_size": input_size},
        progress=False,
    )
    seconds, used = time.perf_counter() - start, time.process_time() - used
    assert isinstance(run, segad.Run)
    busy, search = (run.seconds["decode"] + run.seconds["embed"]) / seconds, run.seconds["search"] / seconds
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    each = count + NORMALS
    times = f"{seconds / each:.4f} | {used / each:.4f} | {busy:.0%} | {search:.0%}"
    print(f"| {count:,} | {times} | {peak:.0f} |", flush=True)
    segad.delete_run(dataset, "segad")
    dataset.delete()


if __name__ == "__main__":
    main()
