"""Models that answer: engines of ours and endpoints."""
