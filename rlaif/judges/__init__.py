"""Judges, verdicts and decisions."""
