"""The samples that an operator works on: those of the App's view, also where that groups them or shows patches."""

from __future__ import annotations

import fiftyone.core.media as fom
import fiftyone.core.patches as fop
import fiftyone.core.stages as fos
import fiftyone.operators as foo
from fiftyone.core.collections import SampleCollection as Samples

from ..registry.samples import all_slices


def target_samples(ctx: foo.ExecutionContext) -> Samples:
    """Return the samples that the form names, flat.

    A view may be left over from another step: one that groups samples by a field (*By defect*, duplicates) or shows
    patches (*Regions*) stands for all samples of its groups, or for those that the patches are of. Of a dataset that
    is grouped itself, e.g. by camera, the slices that the view selects are taken, else the active one.
    """
    view = ctx.target_view()
    if isinstance(view, fop.PatchesView | fop.EvaluationPatchesView):
        return all_slices(ctx.dataset).select(view.distinct("sample_id"))
    if view._is_dynamic_groups:
        view = view.flatten()
    return ctx.flatten_group_slices(view) if view.media_type == fom.GROUP else view


def wants_each_slice(ctx: foo.ExecutionContext) -> bool:
    """Return whether all slices of a grouped dataset are asked for, each by itself."""
    return bool(ctx.params.get("each_slice", False)) and ctx.dataset.media_type == fom.GROUP


def grouped_samples(ctx: foo.ExecutionContext) -> Samples:
    """Return the groups that the form names; all of them where the view shows no groups of the dataset."""
    view = ctx.target_view()
    return view if view.media_type == fom.GROUP and not view._is_dynamic_groups else ctx.dataset.view()


def flat_dataset(ctx: foo.ExecutionContext) -> Samples:
    """Return the samples of the dataset; of one that is grouped, those of the slices that the view selects.

    Where each slice is asked for by itself, those of all slices.
    """
    if wants_each_slice(ctx):
        return all_slices(ctx.dataset)
    if ctx.dataset.media_type != fom.GROUP:
        return ctx.dataset
    for stage in getattr(ctx.view, "_stages", None) or []:
        if isinstance(stage, fos.SelectGroupSlices):
            return ctx.dataset.view().add_stage(stage)
    return ctx.flatten_group_slices(ctx.dataset.view())
