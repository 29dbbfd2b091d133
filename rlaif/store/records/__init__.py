"""The JSON files of a run, one module each: their fields, and how they are read and written."""
