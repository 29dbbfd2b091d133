"""Documents and the passages in them."""
