"""Keep what people decided, and tell where to look next."""
