"""Source 004 (layernorm-grok: Singh, Misra & Orvieto 2026, arXiv 2602.06702); its steps are epochs."""
