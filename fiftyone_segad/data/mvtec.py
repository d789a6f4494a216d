"""Load folders in the layouts of MVTec AD, MVTec LOCO AD and MVTec AD 2 as FiftyOne datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import fiftyone as fo

from .layouts.mvtec import category_folders, list_mvtec
from .samples_of_files import check_name, make_dataset


def load_mvtec(
    dataset_dir: str | Path,
    name: str | None = None,
    categories: Sequence[str] | str | None = None,
    persistent: bool = False,
) -> fo.Dataset:
    """Load one category, or a folder of categories, in the layout of MVTec AD, MVTec LOCO AD or MVTec AD 2.

    A category holds

    - of MVTec AD: ``train/good/*``, ``test/<defect>/*`` and ``ground_truth/<defect>/<name>_mask.png``
    - of MVTec LOCO AD: also ``validation/good/*``, and its ground truth in any number of files per image:
      ``ground_truth/<defect>/<name>/*.png``
    - of MVTec AD 2: ``train/good/*``, ``validation/good/*``, ``test_public/<defect>/*``,
      ``test_public/ground_truth/<defect>/<name>_mask.png``, and images of which nothing is known in
      ``test_private/*`` and ``test_private_mixed/*``

    Folders of good images may be called ``ok`` or ``normal`` too, as in BTAD. Images may lie deeper, in folders within
    these; hidden files and folders are passed over.

    The samples get ``category`` and ``defect`` (Classification; "good" is normal), ``split`` ("train", "validation",
    "test", which ``test_public`` is too, "test_private" or "test_private_mixed") and ``defect_mask`` (Segmentation;
    nonzero is defective, whatever the value). Good images have a zero mask, so that false alarms on them count in an
    evaluation. It is in the database, as the union of several masks of an image is; no file is written or copied.
    Images that are in no folder of a defect or of good ones have neither ``defect`` nor ``defect_mask``, and
    evaluations leave them out.

    What does not fit together is told by name in a warning and in ``dataset.info["problems"]``, and the samples
    are tagged ``problem``: images that cannot be read, defective images without a mask, masks that cannot be read,
    that have another size than their image or could be of another one (these are left out, with all others of the
    image), masks without an image, and images that are not loaded.

    Args:
        dataset_dir: folder of one category, or of several
        name (None): name of the dataset; by default FiftyOne makes one
        categories (None): names of the categories to load; by default all
        persistent (False): whether the dataset stays in the database

    Returns:
        a ``Dataset``

    Raises:
        FileNotFoundError: if the folder does not exist, is not in this layout, or has no image that can be loaded
        ValueError: if a category does not exist, or the name is taken

    Examples:
        >>> dataset = segad.load_mvtec("mvtec", categories="screw")  # doctest: +SKIP
        >>> dataset.count_values("split")  # doctest: +SKIP
        {'train': 320, 'test': 160}
    """
    root = Path(dataset_dir).expanduser().absolute()
    check_categories(root, categories)
    check_name(name)
    names = [categories] if isinstance(categories, str) else categories
    return make_dataset(list_mvtec(root, names), root, "MVTec AD", name, persistent)


def check_categories(root: Path, categories: Sequence[str] | str | None) -> None:
    """Check that a folder is in this layout and has these categories.

    Raises:
        FileNotFoundError: if the folder does not exist or is not in this layout
        ValueError: if it lacks a category
    """
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder '{root}'")
    folders = category_folders(root)
    if not folders:
        raise FileNotFoundError(
            f"'{root}' is not in MVTec layout: expected train/good and test/<defect> (or test_public/<defect>) in it, "
            "or in its subfolders; load_folder() loads others"
        )
    names = [categories] if isinstance(categories, str) else list(categories or [])
    present = [folder.name for folder in folders]
    if unknown := [category for category in names if category not in present]:
        raise ValueError(f"There are no categories {unknown} in '{root}'; it has {present}")
