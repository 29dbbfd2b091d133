"""An answer held against a gold answer, without a model."""
