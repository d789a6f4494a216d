"""Does the share that is asked for hold for parts? Good parts flagged, and what is found, by ways to combine views.

    python benchmarks/parts.py [--tiles FOLDER] [--splits 20] [--every 4] [--rounds 300]

First with made scores: views whose scores depend on each other, each on a scale of its own and with heavy tails, and
defects in one view. Then with the good magnetic tiles, of which several pictures show one part: they are divided by
part, again and again, as in ``calibration.py``; one share is the bank and calibrates, the rest is unseen. The tables go
to parts.md beside this file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _figures import markdown
from calibration import DATA, Split, all_splits, read_normals
from numpy.typing import NDArray

from fiftyone_segad.embedders.efficientnet import EfficientNetEmbedder
from fiftyone_segad.scoring.conformal import NormalScores
from fiftyone_segad.scoring.parts import BONFERRONI, NormalParts

TABLE = Path(__file__).with_suffix(".md")

ASKED = (0.01, 0.05, 0.1)
"""Shares of new good parts that may be flagged."""

NEW = 20
"""New good parts, and as many defective ones, that are judged by one set of normal parts."""

DEFECT = 4.0
"""How far a defect moves the score of one view, in standard deviations of the logarithm."""

LEGEND = """"Any view" flags a part if the p-value of any of its pictures is at most the share that is asked for,
"Bonferroni" if that is so of the smallest one times their number, and `decide_parts` does as `docs/parts.md` says.
After each mean the standard error."""

MADE = """## Made scores

Scores are `exp(z)`, each view on a scale of its own, with `z` normal and of the given correlation between views.
{rounds} sets of normal parts, by each of which {new} good parts are judged and {new} with a defect of {defect:g}
standard deviations in one view. With "lacking", a tenth of the pictures of normal and new parts is missing at
random."""

TILES = """## Magnetic tiles

The good tiles, over {splits} random splits by part: 0.6 of the parts are the bank and calibrate, each picture without
its own part (`groups="part"`); the rest is unseen. Judged are unseen parts of two pictures and more, {pictures:.1f} in
the mean, whose pictures have no names. One patch in {every} x {every} is used."""


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=Path, default=DATA / "magnetic_tile")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=300)
    arguments = parser.parse_args()
    made = made_table(arguments.rounds)
    print(made, flush=True)
    with EfficientNetEmbedder() as embedder:
        normals = read_normals(embedder, arguments.tiles, arguments.every)
        splits = [split["named"] for split in all_splits(embedder.levels, normals, 0.6, arguments.splits)]
    tiles, pictures = tiles_table(splits)
    print(tiles)
    title = "# Does the share hold for parts?\n\nMade by `python benchmarks/parts.py`."
    made_text = MADE.format(rounds=arguments.rounds, new=NEW, defect=DEFECT)
    tiles_text = TILES.format(splits=arguments.splits, every=arguments.every, pictures=pictures)
    TABLE.write_text("\n\n".join([title, LEGEND, made_text, made, tiles_text, tiles]) + "\n")


def made_table(rounds: int) -> str:
    """Judge made parts."""
    rows = []
    for parts, views, correlation, lacking in [
        *((100, 3, correlation, 0.0) for correlation in (0, 0.5, 0.9)),
        *((100, 6, correlation, 0.0) for correlation in (0, 0.5, 0.9)),
        (30, 3, 0.5, 0.0),
        (400, 6, 0.5, 0.0),
        (100, 3, 0.5, 0.1),
    ]:
        counts = np.array([one_round(parts, views, correlation, lacking, seed) for seed in range(rounds)])
        shares, errors = counts.mean(axis=0), counts.std(axis=0, ddof=1) / np.sqrt(rounds)  # [asked, way, good or bad]
        for number, asked in enumerate(ASKED):
            cells = [f"{s:.3f} ± {e:.3f}" for s, e in zip(shares[number, :, 0], errors[number, :, 0], strict=True)]
            cells += [f"{share:.3f}" for share in shares[number, 1:, 1]]
            text = f"{views}" + (", lacking" if lacking else "")
            rows.append([f"{parts}", text, f"{correlation:g}", f"{asked:g}", *cells])
    head = ("normal parts", "views", "correlation", "asked", "any view", "Bonferroni", "decide_parts")
    return markdown([*head, "found by Bonferroni", "found by decide_parts"], rows)


def one_round(parts: int, views: int, correlation: float, lacking: float, seed: int) -> NDArray[np.float64]:
    """Return the shares ``[asked, way, good or defective]`` of new parts that are flagged by one set of normal "
    "parts."""
    random = np.random.default_rng([seed, parts, views, round(100 * correlation), round(100 * lacking)])
    names = [f"view {view}" for view in range(views)]
    scales, offsets = random.uniform(0.1, 10, views), random.uniform(-5, 5, views)

    def draw(count: int, defective: bool) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        z = np.sqrt(correlation) * random.standard_normal((count, 1))
        z = z + np.sqrt(1 - correlation) * random.standard_normal((count, views))
        is_there = random.random((count, views)) >= lacking
        is_there[np.arange(count), random.integers(views, size=count)] = True
        if defective:
            z[np.arange(count), [random.choice(np.flatnonzero(row)) for row in is_there]] += DEFECT
        return np.exp(z) * scales + offsets, is_there

    scores, is_there = draw(parts, False)
    numbers, columns = np.nonzero(is_there)
    normals = NormalParts(scores[is_there], numbers.tolist(), [names[column] for column in columns])
    by_view = {name: NormalScores.of(scores[is_there[:, view], view]) for view, name in enumerate(names)}
    flagged = np.zeros((len(ASKED), 3, 2))
    for defective in (False, True):
        for row, present in zip(*draw(NEW, defective), strict=True):
            seen = [names[view] for view in np.flatnonzero(present)]
            flagged[:, :, int(defective)] += judge(normals, by_view, row[present], seen)
    return flagged / NEW


def judge(
    normals: NormalParts, by_view: dict[str, NormalScores], scores: NDArray[np.float64], views: Sequence[str]
) -> NDArray[np.bool_]:
    """Return whether a part is flagged at each share in each of the three ways ``[asked, 3]``."""
    smallest = min(float(by_view[view].p_values([score])[0]) for view, score in zip(views, scores, strict=True))
    flagged = []
    for asked in ASKED:
        value = normals.part_value(scores, views, asked)
        assert value is not None
        limit = asked + 1e-9
        flagged.append([smallest <= limit, smallest * len(scores) <= limit, value.p_value <= limit])
    return np.array(flagged)


def tiles_table(splits: Sequence[Split]) -> tuple[str, float]:
    """Judge the unseen parts of several pictures; also return how many pictures they have in the mean."""
    shares, multiplied, sizes = [], [], []
    for split in splits:
        calibrating = split.calibrating
        views = [""] * len(calibrating)
        normals = NormalParts(calibrating.scores, calibrating.groups.tolist(), views)
        flagged = []
        for part in np.unique(split.unseen_parts):
            scores = split.unseen[split.unseen_parts == part]
            if len(scores) > 1:
                flagged.append(judge(normals, {"": calibrating}, scores, [""] * len(scores)))
                sizes.append(len(scores))
                values = [normals.part_value(scores, [""] * len(scores), asked) for asked in ASKED]
                multiplied.append([value is not None and value.method == BONFERRONI for value in values])
        shares.append(np.mean(flagged, axis=0))
    means, errors = np.mean(shares, axis=0), np.std(shares, axis=0, ddof=1) / np.sqrt(len(shares))  # [asked, 3]
    rows = [
        [
            f"{asked:g}",
            *(f"{mean:.3f} ± {error:.3f}" for mean, error in zip(means[i], errors[i], strict=True)),
            f"{np.mean(multiplied, axis=0)[i]:.2f}",
        ]
        for i, asked in enumerate(ASKED)
    ]
    head = ("asked", "any picture", "Bonferroni", "decide_parts", "share judged by Bonferroni there")
    return markdown(head, rows), float(np.mean(sizes))


if __name__ == "__main__":
    main()
