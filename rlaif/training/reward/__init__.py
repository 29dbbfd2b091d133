"""Reward models: sequence classifiers with one output, trained on preferred answers."""
