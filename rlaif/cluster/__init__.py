"""Ray: start, placement, shortage."""
