"""What was decided on the parts that the samples of a run show: the field, its record, and their removal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import fiftyone as fo
from fiftyone import ViewExpression
from fiftyone import ViewField as F
from fiftyone.core.collections import SampleCollection as Samples

from ..errors import RunError
from ..utils.text import pluralize
from ..utils.values import make_dataclass
from .colours import delete_colours, set_label_colours
from .keys import ANOMALOUS, PLUGIN, owners_of, part_field, parts_key
from .retry import retry_on_reconnect
from .samples import all_slices
from .sidebar import add_group, remove_groups

_DESCRIPTION = "normal or anomalous: the part that the sample shows, by all of its views; p_value is that of the part"

_SHOWN = 10


@dataclass(frozen=True)
class PartDecision:
    """The decision on one part.

    Attributes:
        part: its name: the value of the field that tells parts, or the id of its group
        label: ``normal`` or ``anomalous``
        p_value: share of new normal parts that are expected to be as unusual, in (0, 1]
        sample_id: the sample that decided: the most unusual one of its view
        view: its view; None if views have no names
        zone: the zone that decided on that sample; None if the run has no zones
        pictures: number of pictures that were judged
        method: ``conformal`` or ``bonferroni``
        sample_ids: the samples that show it
    """

    part: str
    label: str
    p_value: float
    sample_id: str
    view: str | None
    zone: str | None
    pictures: int
    method: str
    sample_ids: list[str] = field(default_factory=list)

    @property
    def anomalous(self) -> bool:
        return self.label == ANOMALOUS


@dataclass(frozen=True)
class PartsRecord:
    """What decisions on parts rest on.

    Attributes:
        key: key of the run, or of the runs of all slices
        by: field that tells parts; None for the groups of the dataset
        views: field that tells views of a flat dataset
        share: share of normal parts that may be flagged
        reference: name of the dataset whose samples tell the parts of normal images
        normals: number of normal parts, in the view of which most are known
        decided: number of parts that were decided
        flagged: number of those that are anomalous
        warnings: what the user should know
        follows_threshold: whether the share is that of the run's threshold, and changes with it
    """

    key: str
    by: str | None
    views: str | None
    share: float
    reference: str
    normals: int
    decided: int = 0
    flagged: int = 0
    warnings: list[str] = field(default_factory=list)
    follows_threshold: bool = False


@dataclass(frozen=True)
class PartDecisions:
    """The decisions on the parts of a run.

    Attributes:
        record: what they rest on
        parts: the decisions, the lowest p-value first

    Examples:
        >>> decisions = segad.decide_parts(dataset, "segad")  # doctest: +SKIP
        >>> [(part.part, part.view) for part in decisions.flagged]  # doctest: +SKIP
        [('0412', 'left'), ('0398', 'top')]
    """

    record: PartsRecord
    parts: list[PartDecision]

    @property
    def key(self) -> str:
        return self.record.key

    @property
    def share(self) -> float:
        return self.record.share

    @property
    def warnings(self) -> list[str]:
        return self.record.warnings

    @property
    def field(self) -> str:
        """Name of the field of the samples."""
        return part_field(self.key)

    @property
    def flagged(self) -> list[PartDecision]:
        """The anomalous parts, the lowest p-value first."""
        return [part for part in self.parts if part.anomalous]

    def __getitem__(self, part: str) -> PartDecision:
        """Return the decision on a part.

        Raises:
            KeyError: if nothing was decided on it
        """
        for decision in self.parts:
            if decision.part == str(part):
                return decision
        raise KeyError(f"Nothing was decided on part '{part}'")

    def __str__(self) -> str:
        lines = [
            f"Parts of '{self.key}': {len(self.flagged)} of {len(self.parts)} anomalous; a share of {self.share:g} of "
            f"new good parts would be (from {pluralize(self.record.normals, 'normal part')})"
        ]
        lines += [
            f"  {part.part}: p = {part.p_value:.3g}" + (f", view '{part.view}'" if part.view else "")
            for part in self.flagged[:_SHOWN]
        ]
        lines += [f"  ... {len(self.flagged)} in all"] if len(self.flagged) > _SHOWN else []
        return "\n".join(lines + [f"  warning: {warning}" for warning in self.warnings])


def list_parts(dataset: Samples, key: str = "segad") -> PartDecisions:
    """Read what ``decide_parts`` decided.

    Raises:
        ValueError: if nothing was decided
        RunError: if what is stored of it is damaged

    Examples:
        >>> print(segad.list_parts(dataset, "segad"))  # doctest: +SKIP
    """
    decisions = read_parts(dataset, key)
    if decisions is None:
        raise ValueError(f"Nothing is decided on the parts of '{key}'; call decide_parts(dataset, '{key}')")
    return decisions


def read_parts(dataset: Samples, key: str) -> PartDecisions | None:
    """Read what was decided on the parts of a run; None if nothing was.

    Raises:
        RunError: if what is stored of it is damaged
    """
    root = dataset._root_dataset
    record, path = read_parts_record(root, key), part_field(key)
    if record is None or not root.has_sample_field(path):
        return None
    decisions: dict[str, PartDecision] = {}
    for id, label in zip(*all_slices(root).exists(path).values(["id", path]), strict=True):
        if label["part"] not in decisions:
            decisions[label["part"]] = PartDecision(
                label["part"],
                label.label,
                label["p_value"],
                label["decided_by"],
                label["view"],
                label["zone"],
                label["pictures"],
                label["method"],
            )
        decisions[label["part"]].sample_ids.append(id)
    return PartDecisions(record, sorted(decisions.values(), key=lambda decision: decision.p_value))


def flagged_parts(samples: Samples, key: str) -> fo.DatasetView:
    """Return a view of the parts that are anomalous, with all of their pictures; of a grouped dataset, their groups.

    Raises:
        ValueError: if nothing was decided
    """
    root = samples._root_dataset
    decisions = list_parts(root, key)
    if root.group_field is not None and decisions.record.by is None:
        # Not by select_groups(): the App looks at one slice of the view, of which that stage finds no group
        groups = [part.part for part in decisions.flagged]
        group = F(f"{root.group_field}._id").to_string()
        parts: fo.DatasetView = root.match(group.is_in(groups))
        return parts.sort_by(ViewExpression({"$indexOfArray": [groups, group]}))
    ids = [id for part in decisions.flagged for id in part.sample_ids]
    view: fo.DatasetView = all_slices(root).select(ids, ordered=True)
    return view


def decisions_of_run(samples: Samples, key: str) -> PartsRecord | None:
    """Read what decisions on the parts of a run rest on, or on those of the runs of all slices that it is one of.

    None if nothing was decided.
    """
    root = samples._root_dataset
    records = (read_parts_record(root, owner) for owner in [key, *owners_of(root, key)])
    return next((record for record in records if record and root.has_sample_field(part_field(record.key))), None)


def read_parts_record(dataset: fo.Dataset, key: str) -> PartsRecord | None:
    """Read what decisions on parts rest on; None if there are none.

    Raises:
        RunError: if it is damaged
    """
    saved = _saved_values(dataset, key)
    if saved is None:
        return None
    try:
        return make_dataclass(PartsRecord, saved)
    except ValueError as error:
        raise RunError(
            f"What dataset '{dataset.name}' holds of the parts of '{key}' is damaged: {error}. Call "
            "decide_parts() again"
        ) from error


def _saved_values(dataset: fo.Dataset, key: str) -> dict[str, Any] | None:
    name = parts_key(key)
    config = dataset.get_run_info(name).config if dataset.has_run(name) else None
    if config is None or getattr(config, "plugin", None) != PLUGIN or not hasattr(config, "parts"):
        return None
    values = dict(config.parts)
    return {**values, "warnings": list(values.get("warnings", ()))}


@retry_on_reconnect
def write_parts(dataset: fo.Dataset, decisions: PartDecisions) -> None:
    """Write decisions to the samples of the parts, in place of earlier ones of the same key.

    Raises:
        ValueError: if the field belongs to something else
    """
    record, path = decisions.record, decisions.field
    if _saved_values(dataset, record.key) is None:
        if dataset.has_sample_field(path):
            raise ValueError(f"The field '{path}' exists and was not written by decide_parts(); rename it first")
        if dataset.has_run(parts_key(record.key)):
            raise ValueError(f"'{parts_key(record.key)}' is the key of another run of the dataset; rename it first")
    delete_parts(dataset, record.key)
    config = dataset.init_run(plugin=PLUGIN, parts=asdict(record))
    dataset.register_run(parts_key(record.key), config)  # first: what is interrupted now is removed with the run
    dataset.add_sample_field(
        path, fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification, description=_DESCRIPTION
    )
    dataset.set_values(path, _labels(decisions), key_field="id")
    dataset.add_dynamic_sample_fields(all_slices(dataset).get_dynamic_field_schema(fields=path))
    set_label_colours(dataset, [path])
    add_group(dataset, record.key, [path])
    dataset.reload()


def _labels(decisions: PartDecisions) -> Mapping[str, fo.Classification]:
    labels = {}
    for part in decisions.parts:
        for id in part.sample_ids:
            labels[id] = fo.Classification(
                label=part.label,
                confidence=1 - part.p_value if part.anomalous else part.p_value,
                p_value=part.p_value,
                part=part.part,
                decided_by=part.sample_id,
                view=part.view,
                zone=part.zone,
                pictures=part.pictures,
                method=part.method,
            )
    return labels


def delete_parts(dataset: fo.Dataset, key: str) -> None:
    """Remove what was decided on the parts of a run; nothing if nothing was."""
    if _saved_values(dataset, key) is None:
        return
    path = part_field(key)
    if dataset.has_sample_field(path):
        dataset.delete_sample_field(path)
    delete_colours(dataset, {path})
    remove_groups(dataset, [key])
    dataset.delete_run(parts_key(key))
