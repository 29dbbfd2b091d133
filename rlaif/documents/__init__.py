"""Documents and their passages."""
