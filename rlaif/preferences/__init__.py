"""Preference pairs: from decisions of judges, and from files of labels and preferences."""
