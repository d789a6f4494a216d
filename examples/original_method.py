"""The original method on one picture: which segments of an N x N grid does fastdup call outliers?

python examples/original_method.py IMAGE [--grid 7] [--out outliers.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import fiftyone_segad as segad

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("image", type=Path)
parser.add_argument("--grid", type=int, default=7, help="segments a side")
parser.add_argument("--out", type=Path, default=Path("outliers.png"), help="picture with the outliers in red boxes")
arguments = parser.parse_args()

found = segad.find_outlier_segments(arguments.image, segments=f"grid:{arguments.grid}")

print(f"{len(found.outliers.indices)} of {len(found.segments)} segments are outliers")
for index, similarity in zip(found.outliers.indices, found.outliers.similarities, strict=True):
    row, column = divmod(int(index), arguments.grid)
    print(f"  segment {index} (row {row}, column {column}): similarity {similarity:.4f}")

found.draw().save(arguments.out)
print(f"Saved {arguments.out}")
