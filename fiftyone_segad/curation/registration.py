"""The registry of curations: what duplicates, quality and contamination wrote to a dataset, and how it is removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..errors import ImageError
from ..registry.keys import PLUGIN, check_name
from ..registry.samples import all_slices
from ..utils.images import find_scale, read_ahead
from ..utils.threads import usable_cores

ShowProgress = bool | Callable[[Any], None] | None
"""Whether to show a progress bar, or a function that gets it, as in FiftyOne."""

Values = Mapping[str, Mapping[str, Any]]
"""By name of a field, its values by sample id."""


@dataclass(frozen=True)
class Curation:
    """A record of what one call wrote.

    Attributes:
        key: its key, with which its fields begin
        kind: ``duplicates``, ``quality`` or ``contamination``
        fields: the sample fields
        tag: the tag; None without one
    """

    key: str
    kind: str
    fields: list[str]
    tag: str | None = None


def read_samples(
    samples: Samples, num_workers: int | None, progress: ShowProgress
) -> Iterator[tuple[str, str, NDArray[np.uint8] | ImageError]]:
    """Decode images in threads, with a progress bar.

    Yields:
        id, file, and the pixels ``[height, width, 3]`` or the error that says why there are none
    """
    ids, paths = samples.values(["id", "filepath"])
    with fou.ProgressBar(total=len(ids), progress=progress, iters_str="images") as bar:
        pixels_of = read_ahead(paths, num_workers or usable_cores(), find_scale(paths))
        for id, path, pixels in zip(ids, paths, pixels_of, strict=True):
            yield id, path, pixels
            bar.update()


def check_curation(dataset: fo.Dataset, curation: Curation) -> None:
    """Check that a curation may be written; one of the same key and kind would be replaced.

    Raises:
        ValueError: if the key is not an identifier, or it, a field or the tag belongs to something else
    """
    check_name("key", curation.key)
    old = load_curation(dataset, curation.key) if curation.key in list_curations(dataset) else None
    if old is not None and old.kind != curation.kind:
        raise ValueError(f"'{curation.key}' is the key of {old.kind} on dataset '{dataset.name}'; use another key=...")
    if old is None and (dataset.has_run(curation.key) or dataset.has_evaluation(curation.key)):
        raise ValueError(f"'{curation.key}' is the key of a run on dataset '{dataset.name}'; use another key=...")
    ours = old.fields if old is not None else []
    taken = [name for name in curation.fields if dataset.has_sample_field(name) and name not in ours]
    if taken:
        raise ValueError(f"Fields {taken} exist and belong to no curation; use another key=... so that they stay")
    tag_exists = curation.tag is not None and curation.tag in all_slices(dataset).distinct("tags")
    if tag_exists and (old is None or old.tag != curation.tag):
        raise ValueError(f"tag='{curation.tag}' is in use on dataset '{dataset.name}'; use another, so that it stays")


def write_curation(
    dataset: fo.Dataset,
    curation: Curation,
    kinds: Mapping[str, tuple[type[fo.Field], str]],
    values: Values,
    tagged: Sequence[str] = (),
) -> None:
    """Write fields and tags in place of those of the curation before it.

    Args:
        dataset: the dataset
        curation: the curation
        kinds: type and description of each of its fields
        values: the values
        tagged: ids of the samples that get the tag
    """
    if curation.key in list_curations(dataset):
        delete_curation(dataset, curation.key)
    # Registered first: what a crash leaves behind can be deleted
    dataset.register_run(curation.key, dataset.init_run(plugin=PLUGIN, curation=asdict(curation)))
    for name in curation.fields:
        kind, description = kinds[name]
        label = issubclass(kind, fo.Label)
        options = {"embedded_doc_type": kind} if label else {}
        dataset.add_sample_field(name, fo.EmbeddedDocumentField if label else kind, description=description, **options)
        dataset.set_values(name, dict(values[name]), key_field="id")
    if curation.tag is not None:
        all_slices(dataset).select(list(tagged)).tag_samples(curation.tag)
    dataset.reload()


def list_curations(samples: Samples) -> list[str]:
    """List the keys of what ``find_duplicates``, ``image_quality`` and ``find_contamination`` wrote to a dataset.

    Examples:
        >>> segad.image_quality(dataset, key="sharpness")  # doctest: +SKIP
        >>> segad.list_curations(dataset)  # doctest: +SKIP
        ['sharpness']
    """
    root = samples._root_dataset
    return [key for key in root.list_runs() if _is_curation(root.get_run_info(key).config)]


def load_curation(samples: Samples, key: str) -> Curation:
    """Load the record of a curation.

    Raises:
        ValueError: if there is none of this key
    """
    root = samples._root_dataset
    if key not in list_curations(root):
        raise ValueError(f"Dataset '{root.name}' has no curation '{key}'; it has {list_curations(root)}")
    return Curation(**json.loads(json.dumps(root.get_run_info(key).config.curation)))


def delete_curation(samples: Samples, key: str) -> None:
    """Remove the fields, tags and registration of a curation. Images and ground truth stay.

    Args:
        samples: the dataset, or a view of it
        key: ``duplicates``, ``quality`` or ``contamination``, if no other was given

    Raises:
        ValueError: if there is none of this key

    Examples:
        >>> segad.delete_curation(dataset, "sharpness")  # doctest: +SKIP
    """
    root = samples._root_dataset
    curation = load_curation(root, key)
    root.delete_sample_fields([name for name in curation.fields if root.has_sample_field(name)])
    if curation.tag is not None:
        all_slices(root).match_tags(curation.tag).untag_samples(curation.tag)
    root.delete_run(key)


def _is_curation(config: Any) -> bool:
    return getattr(config, "plugin", None) == PLUGIN and hasattr(config, "curation")
