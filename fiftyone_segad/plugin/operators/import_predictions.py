"""Operator ``import_predictions``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...data.image_files import holds_more_files
from ...registry.run import load_run
from ...runs.map_files import find_map_files
from ...runs.prediction_matching import match_predictions
from ...runs.predictions import import_predictions
from ...scoring.thresholds import DEFAULT_FPR, DEFAULT_QUANTILE, parse_threshold
from ...utils.text import pluralize
from .. import execution, forms, normals, paths
from ..current_run import shown_fields
from ..target import target_samples
from .base import LongOperator, long_config
from .new_run import OUTPUTS, add_key, result_of

_USUAL_KEY, _MODEL = "imported", "another program"

_COUNTED = 50_000
"""Files that are looked at while a form is filled in."""


class ImportPredictions(LongOperator):
    """Makes a run of the anomaly maps that another program has predicted."""

    config = long_config(
        "import_predictions",
        "import predictions of another program",
        "Make a run of anomaly maps, e.g. of anomalib, to look at, evaluate and compare it like any other",
        "move_to_inbox",
    )
    outputs = OUTPUTS

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        add_key(ctx, inputs, _USUAL_KEY)
        about = "Full path; holds a .npy, .npz, .tiff or grey .png file for each image, with the image's name"
        prop = paths.choose_path(ctx, inputs, "maps_dir", "Folder of maps", about, folder=True)
        if paths.path_of(ctx.params, "maps_dir") is not None:
            _describe(ctx, inputs, prop)
        about = "Full path of a .csv file with the columns image and score; empty: the peak of each map"
        scores = paths.choose_path(ctx, inputs, "scores_file", "Image scores", about, required=False)
        forms.invalid(scores, lambda: _full_path(ctx.params, "scores_file"))
        inputs.str("model", default=_MODEL, label="Predicted by", description="The name of the model, for people")
        about = "They set the threshold and the p-values. The program must not have been trained on them"
        inputs.bool("calibrated", default=False, label="Some good images have predictions too", description=about)
        calibrated = bool(ctx.params.get("calibrated"))
        if calibrated:
            normals.add_inputs(ctx, inputs)
        usual = f"fpr:{DEFAULT_FPR}" if calibrated else f"quantile:{DEFAULT_QUANTILE}"
        about = "As of a run that is computed: 'quantile:0.95', 'fpr:0.05', 'alarms:20', 'f1', or a number"
        threshold = inputs.str("threshold", label="Threshold", description=f"{about}; empty: '{usual}'")
        forms.invalid(threshold, lambda: parse_threshold(_threshold(ctx.params) or usual))
        forms.has_images(ctx, inputs, "looked for among the predictions")

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        params, dataset = ctx.params, ctx.dataset
        key = forms.text(params, "key", _USUAL_KEY) or _USUAL_KEY
        maps, scores = _full_path(params, "maps_dir"), _full_path(params, "scores_file")
        if maps is None:
            raise ValueError("maps_dir is missing: name the folder of the maps")
        samples = target_samples(ctx)
        options: dict[str, Any] = {
            "scores": scores,
            "reference": normals.select(ctx) if params.get("calibrated") else None,
            "threshold": _threshold(params),
            "model": forms.text(params, "model", _MODEL) or _MODEL,
            "overwrite": bool(params.get("overwrite", False)),
        }

        def work(progress: execution.Progress) -> dict[str, Any]:
            return result_of(dataset, import_predictions(samples, maps, key, progress=progress, **options))

        def show(result: dict[str, Any]) -> Iterator[Any]:
            score = load_run(dataset, key).field("score")
            view = samples.exists(score).sort_by(score, reverse=True)
            yield from execution.show_fields(ctx, dataset, view, shown_fields(dataset, key))

        return self.run(ctx, key, work, show, key)

    def next_step(self, result: dict[str, Any]) -> str:
        return (
            f"Run '{result.get('key')}' is made; the grid shows the highest scores first. Next: evaluate it, or look "
            "at it in the panel 'Anomaly triage'"
        )


def _describe(ctx: foo.ExecutionContext, inputs: types.Object, prop: types.Property) -> None:
    """Say how many of the images have a map, or why the folder cannot be used."""
    try:
        folder = _full_path(ctx.params, "maps_dir")
        assert folder is not None
        if folder.is_dir() and holds_more_files(folder, _COUNTED):
            inputs.view("found", types.Notice(label=f"More than {_COUNTED:,} files, which are matched when it starts"))
            return
        maps = find_map_files(folder)
    except (OSError, ValueError) as error:
        forms.refuse(prop, str(error))
        return
    images = dict(zip(*target_samples(ctx).values(["id", "filepath"]), strict=True))
    matched = len(match_predictions(maps, images).keys)
    label = (
        f"{pluralize(len(maps), 'map')}; {matched} of the {pluralize(len(images), 'image')} have one, by their names"
    )
    inputs.view("found", types.Notice(label=label))
    if not matched:
        forms.refuse(prop, f"None of the images has a map of its name; the first map is '{next(iter(maps))}'")


def _full_path(params: dict[str, Any], name: str) -> Path | None:
    text = paths.path_of(params, name)
    if text is None:
        return None
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise ValueError(f"{name}={text!r}: give the full path")
    return path


def _threshold(params: dict[str, Any]) -> str | float | None:
    value = params.get("threshold")
    return forms.number_or_text(value) if isinstance(value, str) and value else value or None
