"""Comparison of answers with gold answers, without a model."""
