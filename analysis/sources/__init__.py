"""Published experiments and ours, number by number: python -m analysis.sources 002 results docs/results/source_002."""
