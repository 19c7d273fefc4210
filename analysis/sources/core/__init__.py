"""What all sources share: read published numbers from YAML and ours from runs, compare them, write and draw both."""
