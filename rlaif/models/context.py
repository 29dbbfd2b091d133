"""How long a sequence a model takes."""

import json
from pathlib import Path

from rlaif.models.resolve import BUILTIN


def model_context(model: str) -> int | None:
    """Return the longest sequence that a model takes, in tokens; None for a hub model, whose config is not here."""
    if model == BUILTIN:
        return 8192
    config = Path(model) / "config.json"
    if not config.is_file():
        return None
    value = json.loads(config.read_text(encoding="utf-8")).get("max_position_embeddings")
    return int(value) if value else None


def context_within(model: str, tokens: int) -> int:
    """Return `tokens`, or the longest sequence that the model takes where that is known to be shorter."""
    return min(tokens, model_context(model) or tokens)
