"""Hold the public verbs on a run: compute, set a threshold, rescore, score new images, save a bank."""
