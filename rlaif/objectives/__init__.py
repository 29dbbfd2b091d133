"""Objectives: what a round of each gathers to learn from, and how a policy is trained on it."""
