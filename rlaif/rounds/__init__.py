"""The loop: sample, judge, pair, train, evaluate, promote, and resume."""
