"""Intervals and agreement."""
