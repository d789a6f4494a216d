"""Compare runs with ground truth and with each other."""
