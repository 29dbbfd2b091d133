"""rlaif: aligns a language model with feedback from an AI judge."""

__version__ = "0.1.0"
