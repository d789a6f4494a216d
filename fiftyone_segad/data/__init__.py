"""Load datasets and read the ground truth of samples."""
