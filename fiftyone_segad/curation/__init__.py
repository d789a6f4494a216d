"""Find what is wrong with training images, and choose and export good ones."""
