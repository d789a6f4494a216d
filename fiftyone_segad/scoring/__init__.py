"""Scoring methods: from features to segment scores. Arrays only."""

METHODS = ("reference", "unlabeled", "within_image")
"""Names of the methods: compare with normal images, with all other images, or with the same image."""

IMPORTED = "imported"
"""Method of a run whose scores another program has predicted."""
