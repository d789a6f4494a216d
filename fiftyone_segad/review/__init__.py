"""Keep what people said of images, and tell where to look next."""
