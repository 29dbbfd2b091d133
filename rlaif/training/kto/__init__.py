"""Kahneman-Tversky optimization on answers that are rated one by one."""
