"""What a run would need: placement, memory, tokens, time and money, from a recipe and published figures alone."""
