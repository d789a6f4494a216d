"""Measure what marked defects teach, on the images that were not marked.

    python benchmarks/teaching.py [FOLDER[:BANK] ...] [--draws 20]

FOLDER is a category in MVTec layout, BANK the number of training images in the bank (all by default; 40 screws leave
room to get better). Defective images are drawn and the boxes of their ground truth marked as anomalous, and as many
good images are drawn as reviewed; all other test images, and the training images outside the bank, are scored without
and with these marks. Of wrong marks, a good image is marked at its highest place, or a defective one taken for good.
Features and distances are computed once, by the default embedder, and the rows of a bank that are too many are chosen
at random. The table goes to teaching.md beside this file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from calibration import DATA
from numpy.typing import NDArray
from PIL import Image

from fiftyone_segad.embedders.efficientnet import EfficientNetEmbedder
from fiftyone_segad.engine.marked import rows_at
from fiftyone_segad.metrics.curves import AUPRO_LIMITS, auroc, average_precision, count_scores, partial_area
from fiftyone_segad.metrics.pixels import Bins, PixelCounts
from fiftyone_segad.scoring.conformal import NormalScores
from fiftyone_segad.scoring.levels import FIT_IMAGES, LevelScorer, LevelScores
from fiftyone_segad.scoring.neighbors import NeighborIndex
from fiftyone_segad.scoring.siblings import sibling_groups, sibling_votes
from fiftyone_segad.scoring.teaching import DefectModel, fit_defects, peak, scaling, weight_of
from fiftyone_segad.segments.boxes import RelativeBox, Segments, relative_box
from fiftyone_segad.segments.places import segments_in
from fiftyone_segad.segments.regions import label_regions, regions_of
from fiftyone_segad.utils.arrays import spread_indices
from fiftyone_segad.utils.images import read_ahead
from fiftyone_segad.utils.threads import usable_cores

FOLDERS = (f"{DATA / 'screw'}:40", f"{DATA / 'magnetic_tile'}")
TABLE = Path(__file__).with_suffix(".md")

MARKS = (3, 5, 10, 20)
"""Defective images that are marked, and good ones that are reviewed."""

WRONG = 0.1
"""Share of the marks that are wrong, where some are."""

BANK_ROWS = 2**16
SIDE = 64
"""Side of the maps of which AUPRO is computed: one pixel for each of the finest segments."""

BINS = Bins(-5.0, 25.0, 2**12)
"""Bins of the scores of pixels: 1 is the peak of a usual normal image."""

FOLDS = 3
ROWS = 10_000
"""Rows of normal images that a model learns."""

ASKED = 0.05
METRICS = ("image AUROC", "image AP", "AUPRO", f"good images flagged at fpr:{ASKED:g}")

LEGEND = """Images that were not marked, over {draws} draws: the mean without marks, and the mean gain by the marks with
its 95 % interval (normal approximation over the draws); of the last column the means without and with marks. AUROC in
brackets: the least gain of a draw. Wrong marks: each with a probability of {wrong:g}. AUPRO is that of maps of {side} x
{side} pixels, up to a false-positive rate of 0.3. Reviewed good images teach what is no defect; that `rescore` also
puts them into the bank is left out here."""


@dataclass(frozen=True)
class Picture:
    """An image: its segments and comparable features ``[n, k]`` by level, its true mask ``[SIDE, SIDE]`` and boxes."""

    segments: list[Segments]
    rows: list[NDArray[np.float32]]
    mask: NDArray[np.bool_]
    boxes: list[RelativeBox]


@dataclass(frozen=True)
class Scored:
    """Pictures with the scores ``[n]`` of their finest segments against the bank.

    Attributes:
        normals: pictures of the bank, each scored without its own part
        parts: int array ``[normals]``
        pool: the other pictures
    """

    normals: list[tuple[Picture, NDArray[np.float32]]]
    parts: NDArray[np.int64]
    pool: list[tuple[Picture, NDArray[np.float32]]]


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", default=FOLDERS)
    parser.add_argument("--draws", type=int, default=20)
    arguments = parser.parse_args()
    columns = ("folder", "marked", "wrong", *METRICS)
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    print("\n".join(lines), flush=True)
    for folder in arguments.folders:
        path, _, bank = folder.partition(":")
        scored = score(Path(path), int(bank) if bank else None)
        for wrong in (0.0, WRONG):
            for marks in MARKS:
                outcomes = [measure(scored, marks, wrong, draw) for draw in range(arguments.draws)]
                lines.append(table_row(folder.rpartition("/")[2], marks, wrong, outcomes))
                print(lines[-1], flush=True)
    legend = LEGEND.format(draws=arguments.draws, wrong=WRONG, side=SIDE)
    title = "# What marked defects teach\n\nMade by `python benchmarks/teaching.py`."
    TABLE.write_text("\n\n".join([title, legend, "\n".join(lines)]) + "\n")


def score(folder: Path, bank: int | None) -> Scored:
    """Compute features and distances of the images of a folder, some of the training images being the bank."""
    train = sorted(folder.glob("train/good/*"))
    inside = set(spread_indices(len(train), bank or len(train)).tolist())
    normals = [file for i, file in enumerate(train) if i in inside]
    others = [file for i, file in enumerate(train) if i not in inside] + sorted(folder.glob("test/*/*"))
    with EfficientNetEmbedder() as embedder:
        scorer = LevelScorer(embedder.levels)
        scorer.fit([embedder.patches(read(file)) for file in normals[:: -(-len(normals) // FIT_IMAGES)]], 0)
        bank_pictures = list(read_pictures(embedder, scorer, normals))
        pool = list(read_pictures(embedder, scorer, others))
    random = np.random.default_rng(0)
    shares = [min(BANK_ROWS / sum(len(p.rows[i]) for p in bank_pictures), 1) for i in range(len(scorer.levels))]
    indexes = [
        NeighborIndex([p.rows[i][random.random(len(p.rows[i])) < share] for p in bank_pictures], 0)
        for i, share in enumerate(shares)
    ]
    main = scorer.heaviest
    parts = np.arange(len(bank_pictures))
    votes = ((i, sibling_votes(indexes[main], p.rows[main], i)) for i, p in enumerate(bank_pictures))
    for group in sibling_groups(votes, len(parts)):
        parts[group] = group[0]

    def distances(picture: Picture, excluded: Sequence[int]) -> list[LevelScores]:
        found = zip(picture.segments, picture.rows, indexes, strict=True)
        return [(cut, index.distances(rows, excluded)) for cut, rows, index in found]

    held_out = [
        distances(p, np.flatnonzero(parts == part).tolist()) for p, part in zip(bank_pictures, parts, strict=True)
    ]
    scorer.fit_normalizers(held_out)
    return Scored(
        [(p, scorer.fuse(by_level)[1]) for p, by_level in zip(bank_pictures, held_out, strict=True)],
        parts,
        [(p, scorer.fuse(distances(p, []))[1]) for p in pool],
    )


def read_pictures(embedder: EfficientNetEmbedder, scorer: LevelScorer, files: Sequence[Path]) -> Iterator[Picture]:
    """Read images with their ground truth."""
    for file, pixels in zip(files, read_ahead(list(map(str, files)), usable_cores()), strict=True):
        if isinstance(pixels, Exception):
            raise pixels
        patches = embedder.patches(pixels)
        rows = scorer.transform(patches)
        mask, boxes = np.zeros((SIDE, SIDE), bool), []
        if file.parent.name != "good":
            truth = file.parents[2] / "ground_truth" / file.parent.name / f"{file.stem}_mask.png"
            full = np.asarray(Image.open(truth).convert("L")) > 0
            labels, count = label_regions(full)
            size = (full.shape[1], full.shape[0])
            boxes = [relative_box(region.box, size) for region in regions_of(labels, count, full.astype(np.float32))]
            rows_of, columns_of = np.nonzero(full)
            mask[rows_of * SIDE // full.shape[0], columns_of * SIDE // full.shape[1]] = True
        yield Picture([level.segments for level in patches], rows, mask, boxes)


def read(file: Path) -> NDArray[np.uint8]:
    """Read one image."""
    (pixels,) = read_ahead([str(file)], 1)
    if isinstance(pixels, Exception):
        raise pixels
    return pixels


def measure(scored: Scored, marks: int, wrong: float, draw: int) -> NDArray[np.float64]:
    """Return the metrics ``[2, metrics]`` of the images that were not drawn, without and with their marks."""
    random = np.random.default_rng([marks, draw])
    is_bad = np.array([bool(picture.boxes) for picture, _ in scored.pool])
    order = random.permutation(len(is_bad))
    bad, good = order[is_bad[order]], order[~is_bad[order]]
    swapped_bad, swapped_good = (int((random.random(marks) < wrong).sum()) for _ in range(2))
    defects = [*bad[: marks - swapped_bad], *good[:swapped_bad]]
    good, bad = good[swapped_bad:], bad[marks - swapped_bad :]
    reviewed = [*good[: marks - swapped_good], *bad[:swapped_good]]
    rest: list[int] = np.setdiff1d(order, [*defects, *reviewed]).tolist()
    positives = [marked_rows(*scored.pool[i]) for i in defects]
    model, fold_models = learn(scored, positives, [scored.pool[i][0] for i in reviewed])
    pictures, before = zip(*(scored.pool[i] for i in rest), strict=True)
    after = [
        scores + model.taught(picture.rows, picture.segments) for picture, scores in zip(pictures, before, strict=True)
    ]
    pairs = zip(scored.normals, fold_numbers(scored.parts), strict=True)
    normals = [scores + fold_models[fold].taught(picture.rows, picture.segments) for (picture, scores), fold in pairs]
    without = metrics([scores for _, scores in scored.normals], scored.parts, before, pictures)
    return np.array([without, metrics(normals, scored.parts, after, pictures)])


def marked_rows(picture: Picture, scores: NDArray[np.float32]) -> NDArray[np.floating]:
    """Return the rows ``[n, d]`` of the boxes of a defective image, or of the highest place of a good one."""
    indices = segments_in(picture.segments[0], picture.boxes) if picture.boxes else np.argsort(-scores)[:40]
    return np.concatenate(
        rows_at(picture.rows, picture.segments, indices[spread_indices(len(indices), 200)])[0], axis=1
    )


def fold_numbers(parts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Divide images into folds by their parts, as ``engine/teaching.py`` does."""
    return np.asarray(np.unique(parts, return_inverse=True)[1] % FOLDS)


def learn(
    scored: Scored, positives: Sequence[NDArray[np.floating]], reviewed: Sequence[Picture]
) -> tuple[DefectModel, list[DefectModel]]:
    """Fit and scale the model and those of the folds, as ``engine/teaching.py`` does."""
    folds = fold_numbers(scored.parts)
    count = ROWS // (len(folds) + len(reviewed))

    def sample(picture: Picture) -> NDArray[np.floating]:
        indices = spread_indices(len(picture.segments[0]), count)
        return np.concatenate(rows_at(picture.rows, picture.segments, indices)[0], axis=1)

    normal, others = [sample(picture) for picture, _ in scored.normals], [sample(picture) for picture in reviewed]
    widths = [rows.shape[1] for rows in scored.normals[0][0].rows]

    def fit(fold: int | None, start: DefectModel | None = None) -> DefectModel:
        seen = [rows for rows, its_fold in zip(normal, folds, strict=True) if its_fold != fold]
        return fit_defects(positives, np.concatenate([*seen, *others]), widths, start)

    model = fit(None)
    fold_models = [fit(fold, model) for fold in range(FOLDS)]
    likeness, scores = [], []
    for (picture, values), fold in zip(scored.normals, folds, strict=True):
        like = fold_models[fold].likeness(picture.rows, picture.segments)
        likeness.append((float(like.mean()), peak(like)))
        scores.append((float(values.mean()), peak(values)))
    numbers = (*scaling(likeness, scores), weight_of(len(positives)))
    return model.scaled(*numbers), [one.scaled(*numbers) for one in fold_models]


def metrics(
    normals: Sequence[NDArray[np.float32]],
    parts: NDArray[np.int64],
    images: Sequence[NDArray[np.float32]],
    pictures: Sequence[Picture],
) -> list[float]:
    """Return ``METRICS`` of pictures by the scores of their finest segments, and those of the normal images."""
    is_bad = np.array([bool(picture.boxes) for picture in pictures])
    scores = np.array([peak(image) for image in images])  # as the score of an image of so many segments
    counts = count_scores(scores, is_bad)
    by_image = (
        PixelCounts.of(BINS, image.reshape(SIDE, SIDE), picture.mask)
        for image, picture in zip(images, pictures, strict=True)
    )
    overlap = partial_area(PixelCounts.merge(BINS, by_image).by_region(), AUPRO_LIMITS[0])
    calibrating = NormalScores.of([peak(image) for image in normals], parts)
    flagged = float((scores[~is_bad] > calibrating.threshold(ASKED)).mean())
    return [auroc(counts) or 0.0, average_precision(counts) or 0.0, overlap or 0.0, flagged]


def table_row(folder: str, marks: int, wrong: float, outcomes: Sequence[NDArray[np.float64]]) -> str:
    """Return a line of the table."""
    before, after = np.stack(outcomes, axis=1)  # [draws, metrics]
    gains = after - before
    half = 1.96 * gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
    cells = [
        f"{b:.3f} {gain:+.3f} ± {error:.3f}"
        for b, gain, error in zip(before.mean(axis=0), gains.mean(axis=0), half, strict=True)
    ]
    cells[0] += f" ({gains[:, 0].min():+.3f})"
    cells[-1] = f"{before[:, -1].mean():.3f} -> {after[:, -1].mean():.3f}"
    return f"| {folder} | {marks} | {f'{wrong:.0%}' if wrong else 'none'} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
