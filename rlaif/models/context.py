"""How long a sequence a model takes."""

import json
from pathlib import Path

from rlaif.models.resolve import BUILTIN


def model_context(model: str) -> int | None:
    """Return the longest sequence that a model takes, in tokens, or None where only a hub knows."""
    if model == BUILTIN:
        return 8192
    config = Path(model) / "config.json"
    if not config.is_file():
        return None
    value = json.loads(config.read_text(encoding="utf-8")).get("max_position_embeddings")
    return int(value) if value else None
