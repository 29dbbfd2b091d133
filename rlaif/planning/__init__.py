"""Placement, memory, tokens, time and money of a run, computed from its recipe and published figures."""
