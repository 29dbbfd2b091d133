"""Tensor code of the trainer."""
