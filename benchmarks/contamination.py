"""Are defective images among the normal ones found, and what does it help to take them out?

    python benchmarks/contamination.py [FOLDER ...] [--rows NAME ...] [--draws 3]

FOLDER is a category in MVTec layout. Defective test images are put among the training images until they are a tenth of
them, several times with other ones; each time the images are ranked without labels. Then, with the first of these
training sets, the rest of the test images are scored three times: against the set as it is, without the images that
were found suspect, and without any of those that were put there. The features of an image are computed once a row, and
seconds are those of the first draw, which computes them. The table goes to contamination.md beside this file; rows that
are not measured stay in it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import fiftyone as fo
import numpy as np
from _remembering import forget, remember
from fiftyone import ViewField as F
from numpy.typing import NDArray

import fiftyone_segad as segad
from fiftyone_segad.curation.contamination import SUSPECT
from fiftyone_segad.data.truth import GOOD
from fiftyone_segad.metrics.curves import average_precision, count_scores

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDERS = (DATA / "screw", DATA / "magnetic_tile")
TABLE = Path(__file__).with_suffix(".md")

SHARE = 0.1
"""Share of the training images that are defective."""

LEGEND = """A tenth of the images are defective ones of the test set, drawn several times. Average precision of these
among all, precision and recall of those that are suspect (contamination of at least 3.5) are means over the draws, with
the lowest and the highest in brackets. Image AUROC is that of `reference` on the test images that were not drawn, with
the first draw: trained on the set as it is, without the suspect images, and without any defective image. `reference`
ranks each image by its distance to the nearest segment of any other, `unlabeled` by the mean over several others."""

ROWS: dict[str, dict[str, Any]] = {
    "unlabeled": {"method": "unlabeled"},
    "reference": {"method": "reference"},
    "reference, aligned": {"method": "reference", "align": True},
}
"""Arguments of find_contamination by name of the row."""

UNALIGNED = ("magnetic_tile",)
"""Folders of images that a part fills, on which nothing can be aligned."""

COLUMNS = (
    "folder",
    "row",
    "images",
    "defective",
    "draws",
    "average precision",
    "precision",
    "recall",
    "s / image",
    "AUROC as it is",
    "AUROC cleaned",
    "AUROC clean",
)


def main() -> None:
    """Measure, and print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*", default=FOLDERS)
    parser.add_argument(
        "--rows", metavar="NAME", nargs="+", choices=list(ROWS), help="by default all that fit the folder"
    )
    parser.add_argument("--draws", type=int, default=3)
    arguments = parser.parse_args()
    if missing := [str(folder) for folder in arguments.folders if not folder.is_dir()]:
        parser.error(f"no such folder: {', '.join(missing)}")
    fo.config.show_progress_bars = False
    remember()
    head = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    print("\n".join(head))
    for folder in arguments.folders:
        for name in arguments.rows or rows_of(folder):
            forget()
            row = f"| {' | '.join(measure(folder, name, arguments.draws))} |"
            print(row, flush=True)
            start = row[: row.index(name) + len(name) + 2]
            known = TABLE.read_text().splitlines() if TABLE.is_file() else []
            rows = sorted([row, *(line for line in known if line.startswith("| ") and not line.startswith(start))])
            table = [*head, *(line for line in rows if line not in head)]
            title = "# Contamination\n\nMade by `python benchmarks/contamination.py`.\n\n"
            TABLE.write_text(title + LEGEND + "\n\n" + "\n".join(table) + "\n")


def rows_of(folder: Path) -> list[str]:
    """Return the names of the rows that a folder can have."""
    return [name for name, options in ROWS.items() if not options.get("align") or folder.name not in UNALIGNED]


def measure(folder: Path, name: str, draws: int) -> list[str]:
    """Return a row of the table."""
    dataset = segad.load_mvtec(folder)
    train = dataset.match(F("split") == "train").values("id")
    bad = dataset.match((F("split") == "test") & (F("defect.label") != GOOD)).values("id")
    count = round(len(train) * SHARE / (1 - SHARE))
    found: list[list[float]] = []
    aurocs: list[float | None] = []
    seconds = 0.0
    for draw in range(draws):
        drawn = [bad[i] for i in np.random.default_rng(draw).choice(len(bad), count, replace=False)]
        start = time.perf_counter()
        view = segad.find_contamination(dataset.select([*train, *drawn]), **ROWS[name])
        if draw == 0:
            seconds = time.perf_counter() - start
        ids, scores = view.values("id"), np.array(view.values("contamination"))
        truth = np.array([id in set(drawn) for id in ids])
        suspect = scores >= SUSPECT
        hits = float((truth & suspect).sum())
        precision = average_precision(count_scores(scores, truth)) or 0.0
        found.append([precision, hits / max(suspect.sum(), 1), hits / truth.sum()])
        if draw == 0:
            rest = dataset.match(F("split") == "test").exclude(drawn)
            kept = [id for id, out in zip(ids, suspect.tolist(), strict=True) if not out]
            aurocs = [auroc(dataset, rest, normals) for normals in (ids, kept, train)]
    dataset.delete()
    figures = np.array(found)
    return [
        folder.name,
        name,
        str(len(train) + count),
        str(count),
        str(draws),
        *(spread(figures[:, i]) for i in range(3)),
        f"{seconds / (len(train) + count):.2f}",
        *("-" if value is None else f"{value:.3f}" for value in aurocs),
    ]


def auroc(dataset: fo.Dataset, test: fo.DatasetView, normals: Sequence[str]) -> float | None:
    """Return the image AUROC of the reference method with these normals."""
    segad.compute_segment_anomalies(test, key="bench", reference=dataset.select(list(normals)), rotations=1)
    value = segad.evaluate_anomalies(test, key="bench").metrics()["image_auroc"]
    segad.delete_run(dataset, "bench")
    return value


def spread(values: NDArray[np.float64]) -> str:
    """Return mean, lowest and highest."""
    return f"{mean(values.tolist()):.3f} [{values.min():.3f}, {values.max():.3f}]"


if __name__ == "__main__":
    main()
