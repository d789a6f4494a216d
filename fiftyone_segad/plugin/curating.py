"""Parts of the forms of the operators that curate: what they write, and what they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import fiftyone.operators as foo
import fiftyone.operators.types as types
from fiftyone.core.collections import SampleCollection as Samples

from ..curation.registration import Curation, check_curation
from ..utils.text import pluralize
from . import execution, forms

_DELEGATE_FROM = 500  # images; from there on it takes minutes


def execution_options(ctx: foo.ExecutionContext) -> foo.ExecutionOptions:
    """Offers delegated execution first where it would take minutes."""
    long = ctx.dataset is not None and len(ctx.target_view()) >= _DELEGATE_FROM
    return execution.options(long)


def has_images(ctx: foo.ExecutionContext, inputs: types.Object, time: Callable[[Samples], str]) -> bool:
    """Whether there are images to work on; says how many, and how long they take."""
    if not forms.has_dataset(ctx, inputs):
        return False
    samples = ctx.target_view()
    images = len(samples)
    if images == 0:
        forms.stop(inputs, "empty", "There are no samples in the view", "Clear its filters")
        return False
    inputs.view("count", types.Notice(label=f"{pluralize(images, 'image')} will be read{time(samples)}"))
    return True


def add_outputs(
    ctx: foo.ExecutionContext, inputs: types.Object, kind: str, key: str, fields: Iterable[str], tagged: str
) -> None:
    """Add what is written.

    Args:
        ctx: the context
        inputs: the form
        kind: kind of the curation
        key: the default of its key
        fields: what comes after the key in the names of its fields
        tagged: what the tag is for
    """
    wanted = forms.text(ctx.params, "key", key) or key
    field = inputs.str(
        "key",
        default=key,
        label="Key",
        description="Begins the names of the fields; those of a former call of this key are replaced",
    )
    names = [f"{wanted}{name}" for name in fields]
    forms.invalid(field, lambda: check_curation(ctx.dataset, Curation(wanted, kind, names)))
    tag = inputs.str("tag", label="Tag", description=f"If given, the tag for {tagged}")
    name = forms.text(ctx.params, "tag")
    if name is not None:
        forms.invalid(tag, lambda: check_curation(ctx.dataset, Curation(wanted, kind, [], name)))
