"""The layouts in which people have their images: one module for each, or for those that are alike."""
