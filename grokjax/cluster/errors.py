"""What can go wrong on a cluster."""

from __future__ import annotations


class ClusterError(Exception):
    """Shares could not be trained. The message is one sentence for the user."""
