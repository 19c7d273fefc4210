"""What one run is and does: pure functions, written for one run."""
