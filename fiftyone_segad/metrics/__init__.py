"""Turn scores, maps, masks and ground truth into figures; arrays only."""
