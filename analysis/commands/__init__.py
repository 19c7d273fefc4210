"""The commands of `python -m analysis` that have a word of their own."""
