"""Direct preference optimization on groups."""
