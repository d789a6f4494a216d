"""What a dataset holds of a run becomes a run, or an error that names what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fiftyone_segad as segad
from fiftyone_segad.registry.keys import PLUGIN
from fiftyone_segad.registry.run import parse_run
from fuzzing import FIXED, JSON

RECORD: dict[str, Any] = {
    "key": "segad",
    "method": "reference",
    "embedder": "efficientnet",
    "settings": {
        "method": "reference",
        "embedder": "lite2",
        "segments": None,
        "defects": "any",
        "embedder_kwargs": {},
        "bank_size": None,
        "seed": 0,
    },
    "thresholds": {"rule": "f1", "image": 1.0, "pixel": None},
    "map_range": [0.0, 2.0],
    "folder": "/files/id/segad/0123",
    "masks": "masks-0123abcd",
    "scored": 3,
    "normals": 2,
    "skipped": [{"id": "1", "filepath": "a.png", "reason": "none"}],
}


def test_a_record_as_it_should_be() -> None:
    assert parse_run(RECORD, "segad").map_range == (0.0, 2.0)


@FIXED
@given(name=st.sampled_from([*RECORD, "warnings", "pending", "obsolete", "new"]), value=JSON)
def test_any_value_in_a_record(name: str, value: Any) -> None:
    """What passes is what a run can be made of."""
    try:
        run = parse_run(deepcopy(RECORD) | {name: value}, "segad")
    except ValueError:
        return
    assert name != "new" and name in asdict(run)
    assert type(value) is not str or name in ("method", "embedder")
    assert run.folder == RECORD["folder"] and run.masks == RECORD["masks"], "nothing else names a folder"


@FIXED
@given(value=JSON)
def test_any_record(value: Any) -> None:
    with pytest.raises(ValueError):
        parse_run(value, "segad")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"thresholds": {"rule": "f1", "image": float("nan"), "pixel": None}}, "not finite"),
        ({"settings": {}}, "settings lack"),
        ({"settings": RECORD["settings"] | {"grey_scale": [9, 3]}}, "scale of grey values is .9, 3."),
        ({"settings": RECORD["settings"] | {"grey_scale": "high"}}, "scale of grey values is 'high'"),
        ({"skipped": [{"id": "1"}]}, "what it skipped"),
        ({"key": "other"}, "its key is 'other'"),
        ({"scored": "3"}, "scored"),
        ({"masks": "masks-0123abcd/.."}, "its folder of masks"),
        ({"folder": "/files/id/segad/../0123"}, "its folder"),
    ],
)
def test_the_error_names_the_value(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_run(RECORD | changed, "segad")


def test_a_run_of_version_0_1(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], colour_embedder: object
) -> None:
    """It is not read, but can be replaced and removed."""
    dataset = dataset_of(pictures)

    def compute(**options: Any) -> segad.Run:
        return segad.compute_segment_anomalies(
            dataset, reference=dataset.limit(4), embedder="efficientnet", threshold="quantile:0.5", **options
        )

    def age(run: segad.Run) -> None:
        record = asdict(run)
        record["made_colours"] = record.pop("owns_color_scheme")
        dataset.update_run_config("segad", dataset.init_run(plugin=PLUGIN, run=record))

    age(compute())
    with pytest.raises(segad.RunError, match=r"made by another version.*compute it again with overwrite=True"):
        segad.load_run(dataset, "segad")
    age(compute(overwrite=True))
    segad.delete_run(dataset, "segad")
    assert not [name for name in dataset.get_field_schema() if name.startswith("segad")]
