"""Experiment trackers: W&B, MLflow, TensorBoard and Trackio, each fed from what a run has stored."""
