"""What an image of a large run costs: computation, network, disk, and the machine that the run is started on.

    python benchmarks/scale.py [--images 48] [--normals 100] [--side 1024] [--target 10000000] [--cores 256]

Scores images of the sample dataset's bricks, enlarged to a side of 1024 px, by ``reference`` on this machine, and
divides by their number. What is printed for the target is that, multiplied: such a run was not made.
"""

from __future__ import annotations

import argparse
import io
import pickle
import statistics
import tempfile
import time
from pathlib import Path

import fiftyone as fo
import numpy as np
from PIL import Image
from ray import cloudpickle

import fiftyone_segad as segad
from fiftyone_segad.data.sample_data import make_category
from fiftyone_segad.embedders.factory import get_embedder
from fiftyone_segad.engine.job import Job, JobContext, JobImage, JobSpec
from fiftyone_segad.engine.reference import against_bank, bank_indexes
from fiftyone_segad.storage.store import RunStore
from fiftyone_segad.utils.threads import usable_cores

WORK = ("decode", "embed", "search", "map")
"""Stages that machines of the cluster do."""


def main() -> None:
    """Print the costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--normals", type=int, default=100)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--target", type=int, default=10_000_000)
    parser.add_argument("--cores", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="segad-scale-") as folder:
        paths = make_images(Path(folder), options.images + options.normals, options.side)
        dataset = fo.Dataset()
        try:
            dataset.add_samples([fo.Sample(filepath=path) for path in paths])
            start = time.process_time()
            run = segad.compute_segment_anomalies(
                dataset.skip(options.normals),
                key="scale",
                reference=dataset.limit(options.normals),
                rotations=1,
                progress=False,
            )
            assert isinstance(run, segad.Run)
            report(run, time.process_time() - start, paths, options)
        finally:
            dataset.delete()


def make_images(folder: Path, count: int, side: int) -> list[str]:
    """Write images that differ from each other: mirrored and turned bricks, each with noise of its own."""
    make_category(folder / "brick", "brick")
    cells = [np.asarray(Image.open(file).convert("L")) for file in sorted(folder.glob("brick/train/good/*"))]
    random = np.random.default_rng(0)
    paths = []
    for i in range(count):
        cell = Image.fromarray(np.rot90(cells[i % len(cells)], i // len(cells) % 4)).resize((side, side))
        pixels = np.asarray(cell, np.float32) + random.normal(0, 3, (side, side))
        paths.append(str(folder / f"{i}.png"))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).convert("RGB").save(paths[-1])
    return paths


def report(run: segad.Run, processor: float, paths: list[str], options: argparse.Namespace) -> None:
    """Print what one image cost, and what the target would.

    Processor time, which other work on the machine hardly changes, is that of the whole run: index, maps and fields are
    in it, so that it is too high rather than too low.
    """
    embedded = run.scored + run.normals
    scored = run.scored + len(list(run.store.normals))
    per = {"decode": embedded, "embed": embedded, "search": scored, "map": scored}
    work = processor / embedded
    sent, unpacked = transfer(run)
    driver = run.seconds["write"] / run.scored + unpacked
    files = statistics.mean(Path(path).stat().st_size for path in paths)
    disk = {name: size(Path(run.folder) / name) / run.scored for name in ("scores", "maps", run.masks)}
    n = options.target
    print(f"{run.scored} images, {run.normals} normals, {options.side} px a side, {usable_cores()} cores\n")
    print(f"| cost | of an image | of {n:,} images |\n| --- | --- | --- |")
    for stage in WORK:
        print(f"| {stage}, s by the clock | {run.seconds[stage] / per[stage]:.3f} | |")
    hours = work * n / 3600
    spread = f"{hours:,.0f} core-hours, {hours / options.cores:,.1f} h on {options.cores} cores"
    print(f"| processor time of all, s | {work:.3f} | {spread} |")
    print(f"| image read, kB | {files / 1e3:,.0f} | {files * n / 1e12:,.1f} TB |")
    print(f"| result sent to the driver, kB | {sent / 1e3:,.1f} | {sent * n / 1e9:,.0f} GB |")
    print(f"| driver: unpack and store, ms | {unpacked * 1e3:.2f} | {unpacked * n / 3600:,.1f} h |")
    print(
        f"| driver: maps, masks and fields, ms | {1e3 * (driver - unpacked):.1f} | "
        f"{(driver - unpacked) * n / 3600:,.1f} h |"
    )
    for name, used in disk.items():
        print(f"| disk: {name.split('-')[0]}, kB | {used / 1e3:,.1f} | {used * n / 1e9:,.0f} GB |")
    print(f"\nBank: {bank_bytes(run) / 2**20:,.1f} MiB sent to each actor once, {run.normals} normal images.")
    print(f"While images are scored, one driver keeps up with {work / unpacked:,.0f} cores.")


def transfer(run: segad.Run) -> tuple[float, float]:
    """Return the bytes that an actor sends per image, and the seconds that it takes to unpack and store it."""
    records = list(run.store.scores)
    packed = [pickle.dumps(record, protocol=5) for record in records]
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder) / "run")
        start = time.perf_counter()
        for each in packed:
            store.scores.add(pickle.loads(each))  # noqa: S301 - packed above
        store.scores.flush()
        seconds = time.perf_counter() - start
    return statistics.mean(map(len, packed)), seconds / len(records)


def bank_bytes(run: segad.Run) -> int:
    """Return the bytes of the bank as an actor gets it."""
    with get_embedder(run.embedder) as model:
        images = [JobImage(path, path) for path in run.store.bank.paths()]
        job = Job(JobSpec([], images, run.method, None), JobContext(model, run.store, workers=1))
        levels = job.levels()
        score, _ = against_bank(job, levels, bank_indexes(job, levels))
        target = io.BytesIO()
        cloudpickle.dump(score, target)
        return target.tell()


def size(folder: Path) -> int:
    """Return the bytes of the files of a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
