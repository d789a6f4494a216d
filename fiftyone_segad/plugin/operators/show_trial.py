"""Operator ``show_trial``: the second half of ``try_image``, once the App has opened the dataset of trials."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types
from fiftyone.core.session.events import SetSample
from fiftyone.server.events import dispatch_event

from ..trial import DATASET, take_pending


class ShowTrial(foo.Operator):
    """Opens the sample that was tried last.

    The App runs it by itself when a dataset has been opened: what is triggered along with ``open_dataset`` still meets
    the dataset before it. The trigger ``open_sample`` would show the fields of that one too, which the event that
    ``session.sample_id = ...`` sends does not.
    """

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="show_trial",
            label="Anomalies: show the image that was tried",
            description="Runs by itself after 'try one image'",
            icon="image_search",
            unlisted=True,
            on_dataset_open=True,
            risk_level=types.RiskLevel.LOW,
        )

    async def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Open it, if one is waiting."""
        sample_id = take_pending() if ctx.dataset_name == DATASET else None
        if sample_id is not None:
            await dispatch_event(None, SetSample(sample_id=sample_id))
        return {}
