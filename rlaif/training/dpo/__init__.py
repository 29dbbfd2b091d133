"""Direct preference optimization on groups of candidates."""
