"""Does the stated share of false alarms hold for an image with several zones? Good images flagged over random splits.

    python benchmarks/zones.py [FOLDER ...] [--splits 400]

The good images of a folder in MVTec layout (``train/good``) are a run's normal images, each scored without its own
part. They are divided by part, again and again, into two halves: one calibrates scales and threshold, the other is
unseen. The zones are drawn for the purpose: two halves, four quarters, and a face with a rim and a strip. The
table goes to zones.md beside this file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

import fiftyone_segad as segad
from fiftyone_segad.engine.prediction import zone_scores
from fiftyone_segad.engine.siblings import part_numbers
from fiftyone_segad.scoring.conformal import NormalScores
from fiftyone_segad.segments.boxes import Size
from fiftyone_segad.segments.zones import ZoneMap, fit_scales
from fiftyone_segad.storage.records import ImageScores

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDERS = (DATA / "screw", DATA / "magnetic_tile")
TABLE = Path(__file__).with_suffix(".md")

ASKED = (0.05, 0.1)
"""Shares of new good images that may be flagged."""

SEED = 0

LEGEND = """Share of unseen good images that were flagged, in the mean over {splits} random splits by part, with its
standard error. "Common scale" is what a run does: scores of the zones are brought to one scale, and one threshold is
taken from the highest of each image. "Each zone by itself" gives each zone a threshold for the asked share, so that an
image with several zones has several chances of a false alarm. "Zone of the alarms" is the share of the alarms (common
scale) that is in the zone with most of them; "no scale" is that share where the highest score of all zones decides as
it is, and one rough zone may have all."""


@dataclass(frozen=True)
class Outcome:
    """The unseen images of one split.

    Attributes:
        common: share that is flagged on the common scale
        each: share that is flagged with a threshold for each zone by itself
        alarms: alarms on the common scale by zone
        raw_alarms: the same without a scale
    """

    common: float
    each: float
    alarms: NDArray[np.int64]
    raw_alarms: NDArray[np.int64]


def halves(size: Size) -> ZoneMap:
    """Cut an image into a left and a right half."""
    labels = np.ones(size[::-1], np.uint8)
    labels[:, size[0] // 2 :] = 2
    return ZoneMap(labels, ("left", "right"))


def quarters(size: Size) -> ZoneMap:
    """Cut an image into four quarters."""
    labels = halves(size).labels.copy()
    labels[size[1] // 2 :] += 2
    return ZoneMap(labels, ("upper left", "upper right", "lower left", "lower right"))


def face_and_rim(size: Size) -> ZoneMap:
    """Cut out a face and a strip in its middle; all around is a rim."""
    width, height = size
    labels = np.ones((height, width), np.uint8)
    labels[height // 8 : -height // 8, width // 8 : -width // 8] = 2
    labels[height // 2 - height // 20 : height // 2 + height // 20] = 3
    return ZoneMap(labels, ("rim", "face", "strip"))


LAYOUTS: dict[str, Callable[[Size], ZoneMap]] = {
    "two halves": halves,
    "four quarters": quarters,
    "face, rim and strip": face_and_rim,
}


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*", default=FOLDERS)
    parser.add_argument("--splits", type=int, default=400)
    arguments = parser.parse_args()
    columns = ("folder", "zones", "asked", "common scale", "each zone by itself", "zone of the alarms", "no scale")
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    print("\n".join(lines), flush=True)
    for folder in arguments.folders:
        records, parts = read_normals(folder)
        for name, layout in LAYOUTS.items():
            scores = np.array([list(zone_scores(r, layout(r.segments.size), False).values()) for r in records])
            for asked in ASKED:
                lines.append(table_row(folder.resolve().name, name, asked, scores, parts, arguments.splits))
                print(lines[-1], flush=True)
    title = "# Does the share of false alarms hold with several zones?\n\nMade by `python benchmarks/zones.py`."
    TABLE.write_text("\n\n".join([title, LEGEND.format(splits=arguments.splits), "\n".join(lines)]) + "\n")


def read_normals(folder: Path) -> tuple[list[ImageScores], NDArray[np.int64]]:
    """Score the good images of a folder, each without its own part; returns their records, and numbers of parts."""
    dataset = fo.Dataset.from_images(sorted(map(str, (folder / "train" / "good").iterdir())))
    try:
        run = segad.compute_segment_anomalies(dataset, reference=dataset, progress=False)
        assert isinstance(run, segad.Run)
        records = list(run.store.normals)
        parts = part_numbers([record.id for record in records], run.groups)
        segad.delete_run(dataset, run.key)
    finally:
        fo.delete_dataset(dataset.name)
    return records, parts


def table_row(
    folder: str, zones: str, asked: float, scores: NDArray[np.float64], parts: NDArray[np.int64], splits: int
) -> str:
    """Return the row of one layout of zones, whose scores are ``[images, zones]``."""
    random = np.random.default_rng(SEED)
    outcomes = [one_split(scores, parts, asked, random) for _ in range(splits)]
    shares = [np.array([outcome.common for outcome in outcomes]), np.array([outcome.each for outcome in outcomes])]
    cells = [f"{100 * s.mean():.1f} % ± {100 * s.std() / np.sqrt(splits):.1f}" for s in shares]
    for by_zone in ([outcome.alarms for outcome in outcomes], [outcome.raw_alarms for outcome in outcomes]):
        alarms = np.sum(by_zone, axis=0)  # [zones]
        cells.append(f"{100 * alarms.max() / max(alarms.sum(), 1):.0f} %")
    return f"| {folder} | {zones} | {100 * asked:.0f} % | {' | '.join(cells)} |"


def one_split(
    scores: NDArray[np.float64], parts: NDArray[np.int64], asked: float, random: np.random.Generator
) -> Outcome:
    """Calibrate with half of the parts, and look at the others."""
    numbers = random.permutation(np.unique(parts))
    seen = np.isin(parts, numbers[: len(numbers) // 2])
    names = [str(zone) for zone in range(scores.shape[1])]
    scales = fit_scales({name: scores[seen, zone] for zone, name in enumerate(names)})
    scaled = np.array([[scales[name](score) for name, score in zip(names, row, strict=True)] for row in scores])
    common, alarms = flagged(scaled, scaled.max(axis=1), parts, seen, asked)
    _, raw_alarms = flagged(scores, scores.max(axis=1), parts, seen, asked)
    each = [scores[~seen, zone] > threshold_of(scores[:, zone], parts, seen, asked) for zone in range(len(names))]
    of_parts = parts[~seen]
    return Outcome(share_of(common, of_parts), share_of(np.any(each, axis=0), of_parts), alarms, raw_alarms)


def threshold_of(scores: NDArray[np.float64], parts: NDArray[np.int64], seen: NDArray[np.bool_], asked: float) -> float:
    """Return the threshold that the images calibrate which are seen."""
    return NormalScores.of(scores[seen], parts[seen]).threshold(asked)


def flagged(
    by_zone: NDArray[np.float64],
    scores: NDArray[np.float64],
    parts: NDArray[np.int64],
    seen: NDArray[np.bool_],
    asked: float,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which of the unseen images are flagged, and how many by each zone."""
    is_flagged = scores[~seen] > threshold_of(scores, parts, seen, asked)
    zones = by_zone[~seen][is_flagged].argmax(axis=1)
    return is_flagged, np.bincount(zones, minlength=by_zone.shape[1])


def share_of(is_flagged: NDArray[np.bool_], parts: Sequence[int] | NDArray[np.int64]) -> float:
    """Return the share of flagged images, each part counting as one."""
    _, positions, counts = np.unique(parts, return_inverse=True, return_counts=True)
    return float(np.average(is_flagged, weights=1 / counts[positions]))


if __name__ == "__main__":
    main()
