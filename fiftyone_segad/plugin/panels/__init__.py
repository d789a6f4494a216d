"""The plugin's panels, one file each."""

from __future__ import annotations

from .anomaly_triage import AnomalyTriage

PANELS = (AnomalyTriage,)
