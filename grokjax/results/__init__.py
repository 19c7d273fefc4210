"""A results directory: histories, weights, checkpoints, locks."""
