"""From YAML to runs: settings, axes, checks, identities, groups."""
