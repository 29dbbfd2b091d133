"""The judge report as a person reads it."""
