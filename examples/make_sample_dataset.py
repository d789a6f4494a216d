"""Makes a small dataset in MVTec layout from the real textures that ship in scikit-image.

    python examples/make_sample_dataset.py OUT [--categories brick gravel grass] [--seed 0]

The layout is the one that ``load_mvtec`` reads:

    OUT/brick/train/good/000.png                  normal images
    OUT/brick/test/good/000.png                   normal images to test on
    OUT/brick/test/scratch/000.png                defective images, a folder for each type of defect
    OUT/brick/ground_truth/scratch/000_mask.png   their masks, 255 on the defect, else 0

The textures (brick, gravel, grass) are in the public domain (CC0).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fiftyone_segad.data.sample_data import CATEGORIES, make_category


def main() -> None:
    """Make the categories that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--categories", nargs="+", choices=CATEGORIES, default=list(CATEGORIES))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for category in arguments.categories:
        make_category(arguments.out / category, category, arguments.seed)
        print(f"Made {arguments.out / category}")


if __name__ == "__main__":
    main()
