"""The search for nearest rows: what the inverted file misses beside an exhaustive search, and what each takes.

    python benchmarks/search.py [FOLDER] [--normals 100] [--images 6]

FOLDER is a category in MVTec layout, by default the screws. Banks are random rows of the normal images' features by the
default embedder, as many as a bank has by default at most; queries are all patches of some test images. Times are those
of the processor, in one thread.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from fiftyone_segad.embedders.base import Patches
from fiftyone_segad.embedders.efficientnet import EfficientNetEmbedder
from fiftyone_segad.engine.bank import BANK_ROWS, row_limits
from fiftyone_segad.scoring.levels import FIT_IMAGES, LevelScorer
from fiftyone_segad.scoring.neighbors import NeighborIndex, search_threads
from fiftyone_segad.utils.images import read_image

SCREW = Path(__file__).resolve().parents[2] / "shared" / "data" / "screw"
SIZES = (8192, 25_600, 65_536, BANK_ROWS)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=SCREW)
    parser.add_argument("--normals", type=int, default=100)
    parser.add_argument("--images", type=int, default=6)
    options = parser.parse_args()
    embedder = EfficientNetEmbedder()
    normal, test = (
        [embedder.patches(read_image(str(file))) for file in sorted(options.folder.glob(pattern))[:count]]
        for pattern, count in (("train/good/*", options.normals), ("test/[!g]*/*", options.images))
    )
    levels = LevelScorer(embedder.levels)
    levels.fit(normal[:FIT_IMAGES], seed=0)
    limits = row_limits(None, levels, [level.segments for level in test[0]])
    print("| level | rows | found | distances too large by | exhaustive, ms / image | ours, ms / image |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for number, level in enumerate(embedder.levels):
        rows = stacked(levels, normal, number)
        queries = [levels.transform(image)[number] for image in test]
        for size in sorted({min(size, len(rows), limits[number]) for size in SIZES}):
            bank = rows[np.random.default_rng(0).choice(len(rows), size, replace=False)]
            print(f"| {level.name} | {size:,} | {compared(bank, queries)} |", flush=True)


def stacked(levels: LevelScorer, images: list[list[Patches]], number: int) -> NDArray[np.float32]:
    """Return the rows of one level of several images."""
    return np.concatenate([levels.transform(image)[number] for image in images])


def compared(rows: NDArray[np.float32], images: list[NDArray[np.float32]]) -> str:
    """Return the share of nearest rows that are found, excess of the mean distance, and processor times, as cells."""
    bank = NeighborIndex([rows])
    found, exact = [], []
    with search_threads(1):
        spent = [time.process_time()]
        for queries in images:
            exact.append(np.sqrt(faiss.knn(queries, rows, 1)[0][:, 0].clip(0)))
        spent.append(time.process_time())
        for queries in images:
            found.append(bank.distances(queries))
        spent.append(time.process_time())
    ours, true = np.concatenate(found), np.concatenate(exact)
    milliseconds = np.diff(spent) / len(images) * 1000
    share = np.isclose(ours, true, rtol=1e-3, atol=1e-3).mean()
    return f"{share:.3f} | {ours.mean() / true.mean() - 1:.2%} | {milliseconds[0]:.0f} | {milliseconds[1]:.0f}"


if __name__ == "__main__":
    main()
