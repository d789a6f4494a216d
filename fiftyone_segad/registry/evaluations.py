"""Know the evaluations that are kept on a dataset: under which key they were written, and which ones are stale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fiftyone as fo
from fiftyone.core.collections import SampleCollection as Samples

from .keys import KEY, list_evaluations

if TYPE_CHECKING:
    from .run import Run


def written_key(dataset: fo.Dataset, eval_key: str) -> str:
    """Return the key that an evaluation's fields begin with: ``rename_run`` changes no field."""
    key = str(dataset.get_run_info(eval_key).config.errors).rpartition("-")[0]
    return key if KEY.match(key) else eval_key


def stale_evaluations(samples: Samples, run: Run) -> list[str]:
    """Tell which evaluations are of a run as it was before its threshold or its scores changed, a sentence for each."""
    root = samples._root_dataset
    sentences = []
    for key in list_evaluations(root):
        config = root.get_run_info(key).config
        if config.evaluated == run.key and getattr(config, "masks", None) != run.masks:
            sentences.append(
                f"Evaluation '{key}' is of run '{run.key}' as it was before (threshold {config.threshold:.4g}, now "
                f"{run.thresholds.image:.4g}): its figures and fields are stale. Bring it up to date with "
                "evaluate_anomalies()"
            )
    return sentences
