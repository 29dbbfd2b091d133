"""A policy on held-out questions."""
