"""Embedders turn the segments of an image into features; one file per embedder, ``factory`` finds them by name."""
