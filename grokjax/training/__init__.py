"""The state of one run and its training: pure functions, written for one run."""
