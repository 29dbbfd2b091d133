"""The JSON files beside a model's weights: its config, its tokenizer's and an adapter's settings.

Invariant: a file that holds no JSON object is refused with one line that names it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlaif.errors import UserError, first_line


def read_settings(path: str | Path) -> dict[str, Any]:
    """Return the JSON object in a file; UserError if it holds none."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON: {first_line(error)}; expected a file of a model") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object; expected a file of a model")
    return value


def quantization(config: Mapping[str, Any]) -> str | None:
    """Return how a config's weights, or those of its text model, are quantized; None if they are not."""
    for part in (config, config.get("text_config")):
        found = part.get("quantization_config") if isinstance(part, dict) else None
        if isinstance(found, dict):
            return str(found.get("quant_method", "of an unnamed kind"))
    return None
