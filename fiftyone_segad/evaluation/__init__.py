"""Measure runs on ground truth, and compare runs with each other."""
