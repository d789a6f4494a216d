"""Colours of all plots, pictures and reports, and of the App's panel."""

from __future__ import annotations

NORMAL = "#3b8ede"
ANOMALOUS = "#e06a10"
"""Blue and orange: told apart by colour-blind people, and 3 : 1 or more against white and against black."""

UNKNOWN = "#9aa0a6"
THRESHOLD = "#e69f00"
SELECTED = "#cc79a7"

REFERENCE = "#a9c8ee"

BY_TRUTH = {"normal": NORMAL, "anomalous": ANOMALOUS, "unknown": UNKNOWN, "reference": REFERENCE}
"""Colours of images by their ground truth."""

CATEGORIES = ("#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#a08a00", "#8c6bb1")
"""Lines beside each other (after Okabe and Ito)."""

PREDICTED = "#ff0000"
TRUTH = "#00dcff"
"""Masks of an image: red and cyan."""

TEXT = "#7c8491"
"""Read on white and on black."""

GRID = "rgba(124, 132, 145, 0.22)"
BELOW_CURVE = "rgba(59, 142, 222, 0.14)"
CLEAR = "rgba(0, 0, 0, 0)"
