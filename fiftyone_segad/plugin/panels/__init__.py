"""The plugin's panels, one file each."""

from __future__ import annotations

from .anomaly_review import AnomalyReview
from .anomaly_triage import AnomalyTriage

PANELS = (AnomalyTriage, AnomalyReview)
