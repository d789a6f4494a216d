"""What tests of loaded folders share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad

Load = Callable[..., fo.Dataset]


@pytest.fixture
def load() -> Iterator[Load]:
    """Loads folders; the datasets are deleted after the test."""
    names: list[str] = []

    def load_folder(folder: Path, *arguments: object, **options: object) -> fo.Dataset:
        dataset = segad.load_folder(folder, *arguments, **options)
        names.append(dataset.name)
        return dataset

    yield load_folder
    for name in names:
        fo.delete_dataset(name)
