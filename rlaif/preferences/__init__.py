"""Pairs, ratings and rewards from verdicts of judges; pairs from files of labels and preferences."""
