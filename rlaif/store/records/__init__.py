"""The JSON files that rlaif writes: their fields, and how they are read and written."""
