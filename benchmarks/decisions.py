"""Measure alarms and masks of the default run at thresholds that promise a share of false alarms.

    python benchmarks/decisions.py [FOLDER ...] [--rotations 8]

A folder in MVTec layout is scored once, by the default; then each threshold is set as a person would. The table goes to
decisions.md beside this file.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import FOLDERS

TABLE = Path(__file__).with_suffix(".md")

ASKED = (0.01, 0.05, 0.1)
"""Shares of good images that may be flagged."""

COLUMNS = (
    "folder",
    "asked",
    "stated",
    "flagged of good",
    "recall",
    "mask F1",
    "best F1",
    "of best",
    "F1 of all",
    "best",
)

LEGEND = """Each row is a threshold of one run by the default. "Stated" is `run.false_alarm_share`, with its 95 %
interval; "of good" and "recall" are the shares of the good and of the defective test images that were flagged. "Mask
F1" is the pixel F1 of the run's own masks on the flagged images, "best F1" what the best single threshold of the maps
reaches on the same images having seen the truth, and "of best" the ratio; the last two columns are F1 of masks and of
the best threshold over all test images, where defects in images that were not flagged count as missed."""


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*", default=FOLDERS)
    parser.add_argument("--rotations", type=int)
    arguments = parser.parse_args()
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["FIFTYONE_SEGAD_DIR"] = scratch
        for folder in arguments.folders:
            for row in measure(folder.resolve(), arguments.rotations):
                lines.append(f"| {' | '.join(row)} |")
                print(lines[-1], flush=True)
    title = "# Decisions: alarms and masks\n\nMade by `python benchmarks/decisions.py`."
    TABLE.write_text("\n\n".join([title, LEGEND, "\n".join(lines)]) + "\n")


def measure(folder: Path, rotations: int | None) -> list[list[str]]:
    """Run once, and return a line of the table for each threshold."""
    import fiftyone as fo
    from fiftyone import ViewField as F

    import fiftyone_segad as segad

    fo.config.show_progress_bars = False
    dataset = segad.load_mvtec(folder)
    try:
        test, normals = dataset.match(F("split") == "test"), dataset.match(F("split") == "train")
        segad.compute_segment_anomalies(test, key="bench", reference=normals, rotations=rotations)
        name = folder.name + (f", rotations={rotations}" if rotations else "")
        return [
            [name, f"{asked:g}", *figures(test, segad.set_threshold(test, "bench", f"fpr:{asked}"))] for asked in ASKED
        ]
    finally:
        dataset.delete()


def figures(test: Any, run: Any) -> list[str]:
    """Return the figures of a run at its threshold on test images, as texts."""
    from fiftyone_segad.data.truth import GT_FIELD, read_truth
    from fiftyone_segad.engine.calibration import score_bins
    from fiftyone_segad.engine.prediction import predicted_mask
    from fiftyone_segad.metrics.curves import f1_max
    from fiftyone_segad.metrics.pixels import PixelCounts
    from fiftyone_segad.segments.maps import anomaly_map

    truths, bins = read_truth(test, GT_FIELD), score_bins(run.store)
    of_flagged, of_all = PixelCounts(bins), PixelCounts(bins)
    hits, extra, missed, missed_elsewhere = 0, 0, 0, 0
    flagged, defective = [], []
    for record in run.store.scores:
        mask = truths[record.id].read(record.segments.size)
        anomaly = anomaly_map(record.segments, record.scores)
        counts = PixelCounts.of(bins, anomaly, mask)
        of_all.add(counts)
        flagged.append(record.image_score > run.thresholds.image)
        defective.append(mask is not None)
        truth = np.zeros(anomaly.shape, bool) if mask is None else mask
        if not flagged[-1]:
            missed_elsewhere += int(truth.sum())
            continue
        of_flagged.add(counts)
        predicted = predicted_mask(record, anomaly, run.thresholds) > 0
        hits += int((predicted & truth).sum())
        extra += int((predicted & ~truth).sum())
        missed += int((~predicted & truth).sum())
    is_flagged, is_defective = np.array(flagged), np.array(defective)
    own = 2 * hits / max(2 * hits + extra + missed, 1)
    own_of_all = 2 * hits / max(2 * hits + extra + missed + missed_elsewhere, 1)
    best, best_of_all = (f1_max(counts.pixels()) or (np.nan, 0.0) for counts in (of_flagged, of_all))
    share = run.false_alarm_share
    return [
        f"{share.share:.3f} [{share.low:.3f}, {share.high:.3f}]",
        f"{is_flagged[~is_defective].mean():.3f}",
        f"{is_flagged[is_defective].mean():.3f}",
        f"{own:.3f}",
        f"{best[0]:.3f}",
        f"{own / best[0]:.2f}",
        f"{own_of_all:.3f}",
        f"{best_of_all[0]:.3f}",
    ]


if __name__ == "__main__":
    main()
