"""Reward models: sequence classifiers with one output, trained on what people or judges preferred."""
