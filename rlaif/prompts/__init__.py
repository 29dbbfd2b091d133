"""Prompt files: template, front matter, and how an answer is read."""
