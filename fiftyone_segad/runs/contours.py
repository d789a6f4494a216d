"""Draw the maps of a run as lines, which leave free what a heatmap would cover."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples

from ..registry.clearing import delete_contours
from ..registry.colours import set_colours
from ..registry.exclusive import holds_run_lock
from ..registry.keys import contours_field
from ..registry.retry import retry_on_reconnect
from ..registry.run import Run, load_run
from ..registry.samples import check_exists
from ..registry.sidebar import add_group
from ..segments.maps import heatmap_size
from ..storage.records import ImageScores
from ..utils.outlines import outline_points
from .lifecycle import scored_ids

COLOURS = {"yellow": "#ffd54f", "amber": "#ffa000", "orange": "#f4511e", "red": "#d50000"}
"""Of the lines, the lowest first; with their names, for a legend."""

_BATCH = 64


@holds_run_lock
def write_contours(samples: Samples, key: str, progress: bool | Callable[[Any], None] | None = None) -> int:
    """Write the lines of the maps of a run to the field ``<key>_contours``; they go when maps or threshold change.

    Args:
        samples: the dataset, or a view of it; the whole run gets them
        key: the run's key
        progress (None): whether to show a progress bar, or a function that gets it

    Returns:
        how many images have lines

    Raises:
        ValueError: if there is no such run, or the dataset has none of its images any more
        RunError: if the run's files are gone
    """
    run = load_run(samples, key)
    dataset, field, drawn = samples._root_dataset, contours_field(key), 0
    ids = scored_ids(dataset, run)
    levels = contour_levels(run)
    delete_contours(dataset, key)
    about = f"Lines of the anomaly maps at {', '.join(f'{level:.3g}' for level in levels)}"
    dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Polylines, description=about)
    try:
        with fou.ProgressBar(total=len(ids), progress=progress, iters_str="images") as bar:
            for batch in fou.iter_batches(run.store.scores_of(ids), _BATCH):
                check_exists(dataset)
                lines = {record.id: _lines(record, levels) for record in batch}
                retry_on_reconnect(dataset.set_values)(field, lines, key_field="id")
                drawn += sum(bool(label.polylines) for label in lines.values())
                bar.update(len(lines))
    except BaseException:
        delete_contours(dataset, key)
        raise
    by_level = [{"value": name, "color": colour} for name, colour in zip(_names(levels), COLOURS.values(), strict=True)]
    colour = COLOURS["orange"]
    set_colours(dataset, [{"path": field, "fieldColor": colour, "colorByAttribute": "label", "valueColors": by_level}])
    add_group(dataset, key, [field])
    return drawn


def contour_levels(run: Run) -> list[float]:
    """Return the scores at which lines are drawn: from the threshold of pixels on, the same for all images."""
    lowest = run.thresholds.pixel if run.thresholds.pixel is not None else run.thresholds.image
    highest = max(run.map_range[1], lowest)
    levels: list[float] = np.linspace(lowest, highest, len(COLOURS) + 1)[:-1].tolist()
    return levels


def _names(levels: list[float]) -> list[str]:
    return [f"{level:.3g}" for level in levels]


def _lines(record: ImageScores, levels: list[float]) -> fo.Polylines:
    anomaly = record.map(heatmap_size(record.segments.size))  # [height, width]
    shapes = {name: outline_points(anomaly > level) for name, level in zip(_names(levels), levels, strict=True)}
    lines = {name: [points.tolist() for points in shape] for name, shape in shapes.items() if shape}
    return fo.Polylines(polylines=[fo.Polyline(label=name, points=shape, closed=True) for name, shape in lines.items()])
