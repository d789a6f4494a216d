"""Measure what defective images among the normal ones cost, and what ``clean=True`` gives back.

    python benchmarks/dirty_bank.py [FOLDER ...] [--draws 2] [--input-size 256]

FOLDER is a category in MVTec layout. Defective test images are put among the training images until they are a tenth of
them, several times with other ones, and the rest of the test images is scored with and without them in the bank, by the
nearest row and with ``clean=True``. Levels, components, scales, groups and image scores are those of the default;
images are read smaller, and the rows of a bank that are too many are chosen at random, for speed. The table goes to
dirty_bank.md beside this file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from calibration import BANK_ROWS, FOLDERS, SEED, peak
from numpy.typing import NDArray

from fiftyone_segad.embedders.base import Level, Patches
from fiftyone_segad.embedders.efficientnet import EfficientNetEmbedder
from fiftyone_segad.metrics.curves import auroc, average_precision, count_scores
from fiftyone_segad.scoring.excuses import Matches, suspicious_parts
from fiftyone_segad.scoring.levels import FIT_IMAGES, LevelScorer
from fiftyone_segad.scoring.neighbors import NeighborIndex
from fiftyone_segad.scoring.siblings import sibling_groups, sibling_votes
from fiftyone_segad.utils.images import read_ahead
from fiftyone_segad.utils.threads import usable_cores

TABLE = Path(__file__).with_suffix(".md")

SHARE = 0.1
"""Share of a dirty bank that is defective."""

LEGEND = """Image AUROC on the test images that were not drawn, over {draws} draws: mean, with lowest and highest
in brackets. "Clean" banks are the training images, "dirty" ones have as many defective images besides as to be a tenth;
the test images are the same. "Warnings" are the draws in which a run would say that its bank seems to be dirty; "right"
is the share of the images so named that are defective or of one group with a defective one. "Average precision" is that
with which the bank's images, each scored against the others, rank its defective ones: without themselves only, as
`find_contamination` does, or without their whole part. Images are read at {size} pixels."""

COLUMNS = (
    "folder",
    "bank",
    "nearest row",
    "clean=True",
    "warnings",
    "right",
    "average precision, each by itself",
    "average precision, parts left out",
)


@dataclass(frozen=True)
class Pictures:
    """The images of a folder.

    Attributes:
        patches: their features, per image one entry per level
        is_train: bool array ``[images]``
        is_bad: bool array ``[images]``, those that are defective
    """

    patches: list[list[Patches]]
    is_train: NDArray[np.bool_]
    is_bad: NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """Outcome of one bank.

    Attributes:
        aurocs: image AUROC by the nearest row, and by the second-nearest part
        suspects: of the images that a warning names, whether they are of a part with a defect; empty without a warning
        precisions: average precision of the bank's defective images, each left out by itself and with its part
    """

    aurocs: tuple[float, float]
    suspects: NDArray[np.bool_]
    precisions: tuple[float, float]


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*", default=FOLDERS)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--input-size", type=int, default=256)
    arguments = parser.parse_args()
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    print("\n".join(lines), flush=True)
    with EfficientNetEmbedder(input_size=arguments.input_size) as embedder:
        for folder in arguments.folders:
            pictures = read_pictures(embedder, folder)
            for name in ("clean", "dirty"):
                outcomes = [score(embedder.levels, pictures, name, draw) for draw in range(arguments.draws)]
                lines.append(table_row(folder.resolve().name, name, outcomes))
                print(lines[-1], flush=True)
    legend = LEGEND.format(draws=arguments.draws, size=arguments.input_size)
    title = "# A dirty bank\n\nMade by `python benchmarks/dirty_bank.py`."
    TABLE.write_text("\n\n".join([title, legend, "\n".join(lines)]) + "\n")


def read_pictures(embedder: EfficientNetEmbedder, folder: Path) -> Pictures:
    """Compute the features of the images of a folder."""
    files = [*sorted(folder.glob("train/good/*")), *sorted(folder.glob("test/*/*"))]
    patches = []
    for pixels in read_ahead(list(map(str, files)), usable_cores()):
        if isinstance(pixels, Exception):
            raise pixels
        patches.append(embedder.patches(pixels))
    is_train = np.array([file.parent.parent.name == "train" for file in files])
    return Pictures(patches, is_train, np.array([file.parent.name != "good" for file in files]))


def score(levels: Sequence[Level], pictures: Pictures, bank_name: str, draw: int) -> Outcome:
    """Score the test images of one draw against a clean or a dirty bank."""
    train = np.flatnonzero(pictures.is_train)
    count = round(len(train) * SHARE / (1 - SHARE))
    drawn = np.random.default_rng(draw).choice(np.flatnonzero(pictures.is_bad), count, replace=False)
    bank: list[int] = [*train.tolist(), *(drawn.tolist() if bank_name == "dirty" else [])]
    test: list[int] = np.setdiff1d(np.flatnonzero(~pictures.is_train), drawn).tolist()
    random = np.random.default_rng([SEED, draw])
    scorer = LevelScorer(levels)
    scorer.fit([pictures.patches[i] for i in random.permutation(bank)[:FIT_IMAGES]], SEED)
    rows = {i: scorer.transform(pictures.patches[i]) for i in (*bank, *test)}
    share = [min(BANK_ROWS / sum(len(rows[i][level]) for i in bank), 1) for level in range(len(levels))]
    indexes = [
        NeighborIndex([rows[i][level][random.random(len(rows[i][level])) < share[level]] for i in bank], SEED)
        for level in range(len(levels))
    ]
    main_level = int(np.argmax([level.weight for level in levels]))
    parts = find_parts(indexes[main_level], [rows[i][main_level] for i in bank])
    matches = match(indexes, rows, bank, test, parts)
    nearest, second = (image_scores(scorer, pictures, matches, bank, values) for values in ("nearest", "second"))
    by_itself = nearest
    if bank_name == "dirty":
        by_itself = image_scores(
            scorer, pictures, match(indexes, rows, bank, [], np.arange(len(bank))), bank, "nearest"
        )
    suspects = suspicious_parts([matches[i][main_level] for i in bank], [matches[i][main_level] for i in test])
    bad_parts = np.unique(parts[pictures.is_bad[bank]])
    truth, is_bad = pictures.is_bad[test], pictures.is_bad[bank]
    return Outcome(
        (auroc_of(nearest, test, truth), auroc_of(second, test, truth)),
        np.isin(parts[np.isin(parts, suspects)], bad_parts),
        (precision_of(by_itself, bank, is_bad), precision_of(nearest, bank, is_bad)),
    )


def find_parts(index: NeighborIndex, rows: Sequence[NDArray[np.float32]]) -> NDArray[np.int64]:
    """Return the parts of the bank's images, as a run finds them."""
    parts = np.arange(len(rows))
    votes = ((i, sibling_votes(index, image, i)) for i, image in enumerate(rows))
    for group in sibling_groups(votes, len(rows)):
        parts[group] = group[0]
    return parts


def match(
    indexes: Sequence[NeighborIndex],
    rows: dict[int, list[NDArray[np.float32]]],
    bank: Sequence[int],
    test: Sequence[int],
    parts: NDArray[np.int64],
) -> dict[int, list[Matches]]:
    """Match images with the parts of the bank, those of the bank without their own."""
    own = {i: np.flatnonzero(parts == part).tolist() for i, part in zip(bank, parts, strict=True)}
    return {
        i: [
            Matches(*index.nearest_parts(values, parts, own.get(i, [])))
            for index, values in zip(indexes, rows[i], strict=True)
        ]
        for i in (*bank, *test)
    }


def image_scores(
    scorer: LevelScorer, pictures: Pictures, matches: dict[int, list[Matches]], bank: Sequence[int], values: str
) -> dict[int, float]:
    """Return the scores of images by one of the distances, the levels scaled by the bank's images."""
    scored = {
        i: [(level.segments, getattr(match, values)) for level, match in zip(pictures.patches[i], image, strict=True)]
        for i, image in matches.items()
    }
    scorer.fit_normalizers([scored[i] for i in bank])
    return {i: peak(scorer, image) for i, image in scored.items()}


def auroc_of(scores: dict[int, float], images: Sequence[int], truth: NDArray[np.bool_]) -> float:
    """Return the image AUROC of some images."""
    return auroc(count_scores(np.array([scores[i] for i in images]), truth)) or 0.0


def precision_of(scores: dict[int, float], images: Sequence[int], truth: NDArray[np.bool_]) -> float:
    """Return the average precision of some images; 0 where none is defective."""
    return average_precision(count_scores(np.array([scores[i] for i in images]), truth)) or 0.0


def table_row(folder: str, bank: str, outcomes: Sequence[Outcome]) -> str:
    """Return a line of the table."""
    figures = np.array([(*outcome.aurocs, *outcome.precisions) for outcome in outcomes])
    nearest, second, *precisions = (f"{v.mean():.3f} [{v.min():.3f}, {v.max():.3f}]" for v in figures.T)
    named = np.concatenate([outcome.suspects for outcome in outcomes])
    warnings = sum(len(outcome.suspects) > 0 for outcome in outcomes)
    right = f"{named.mean():.2f}" if len(named) else "-"
    cells = [folder, bank, nearest, second, f"{warnings} of {len(outcomes)}", right]
    return f"| {' | '.join(cells + (precisions if bank == 'dirty' else ['-', '-']))} |"


if __name__ == "__main__":
    main()
