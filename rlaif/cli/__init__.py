"""The commands: arguments in, one line or a table out, errors to exit codes."""
