"""Turn the segments of an image into features; one file per embedder."""
