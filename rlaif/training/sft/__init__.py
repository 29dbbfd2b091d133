"""Supervised fine-tuning: a policy learns demonstrations."""
