"""Scoring methods: from features to segment scores, one file a method."""

METHODS = ("reference", "within_image")
