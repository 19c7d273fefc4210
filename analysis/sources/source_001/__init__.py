"""Source 001 (Nanda et al. 2023, arXiv 2301.05217, with its released notebook and runs)."""
