"""From a model's name to its weights on this machine, their sha256, their shapes and context lengths."""
