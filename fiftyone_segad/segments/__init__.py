"""Cut images into boxes, and make maps, masks and regions from the boxes' scores."""
