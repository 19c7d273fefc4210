"""What all sources share: how published numbers are read from YAML, read off our runs, judged, written and drawn."""
