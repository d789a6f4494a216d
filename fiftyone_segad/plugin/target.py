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


def flat_dataset(ctx: foo.ExecutionContext) -> Samples:
    """Return the samples of the dataset; of one that is grouped, those of the slices that the view selects."""
    if ctx.dataset.media_type != fom.GROUP:
        return ctx.dataset
    for stage in getattr(ctx.view, "_stages", None) or []:
        if isinstance(stage, fos.SelectGroupSlices):
            return ctx.dataset.view().add_stage(stage)
    return ctx.flatten_group_slices(ctx.dataset.view())
