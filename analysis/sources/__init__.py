"""Compares published numbers with ours, one by one: python -m analysis.sources 002 results docs/results/source_002."""
