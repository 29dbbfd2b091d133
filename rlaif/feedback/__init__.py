"""People in a run: the comparisons that they are asked to decide, their labels, and the preferences that they bring."""
