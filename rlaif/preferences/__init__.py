"""Decisions of judges to preference pairs."""
