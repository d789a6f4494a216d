"""Scoring methods: from features to segment scores."""

METHODS = ("reference", "unlabeled", "within_image")
