"""vLLM engines in Ray actors."""
