"""The loop: sample, judge, gather, train, evaluate, promote, and resume."""
