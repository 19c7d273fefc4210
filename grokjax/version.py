"""The version of the program, and of what it writes to disk, in a module that imports nothing."""

__version__ = "0.1.0"

SCHEMA = 2
"""Version of the results directory: experiment.yaml, admissions and measurements all carry it.

1: histories in zarr stores, two safetensors files a run, no checksums. 2: packs (results/packs.py).
"""
