"""Policies and reward models measured on held-out questions, and answers to a file of questions."""
