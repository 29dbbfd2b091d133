"""What is read and written, whatever it holds: files, rows, YAML, cache folders, shipped resources."""
