"""The version of the program, and of what it writes to disk, in a module that imports nothing."""

__version__ = "0.1.0"

SCHEMA = 1
"""Version of the results directory: experiment.yaml, histories and measurements all carry it."""
