"""Runs as jobs of a cluster."""
