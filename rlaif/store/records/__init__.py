"""The JSON files of a run: their fields, and how they are read and written."""
