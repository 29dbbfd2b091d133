"""How a sentence encoder turns tokens into one vector, as its own folder says.

The files are those of sentence-transformers: `modules.json`, the pooling's `config.json`, `sentence_bert_config.json`
and `config_sentence_transformers.json`. A folder without them is a bare transformer, whose tokens are averaged.

Invariant: a folder that asks for what is not done here is refused, never encoded in another way.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.errors import UserError

POOLINGS = ("cls_token", "mean_tokens", "max_tokens", "lasttoken")


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """How an encoder's vectors are made.

    Attributes:
        pooling: one of `POOLINGS`.
        normalize: to length 1.
        longest: tokens of a text that are read; None leaves it to the tokenizer.
        lower_case: texts are put in small letters first.
        query_prompt, text_prompt: what comes before a query and before a text.
    """

    pooling: str = "mean_tokens"
    normalize: bool = True
    longest: int | None = None
    lower_case: bool = False
    query_prompt: str = ""
    text_prompt: str = ""


def read_encoder_settings(folder: Path, name: str) -> EncoderSettings:
    """Return the settings of the encoder in a folder.

    Args:
        name: of the model, for messages.

    Raises:
        UserError: a module or a pooling that is not known here, or a file that is no JSON.
    """
    modules = _read(folder / "modules.json", name)
    if modules is None:
        return EncoderSettings()
    pooling, normalize, transformer = "", False, folder
    for module in modules:
        kind = str(module["type"]).rpartition(".")[2]
        if kind == "Transformer":
            transformer = folder / module["path"]
        elif kind == "Pooling":
            pooling = _pooling(_read(folder / module["path"] / "config.json", name) or {}, name)
        elif kind == "Normalize":
            normalize = True
        else:
            raise UserError(f"{name}: its module {kind} is unknown; expected Transformer, Pooling and Normalize")
    if not pooling or transformer.resolve() != folder.resolve():
        raise UserError(f"{name}: modules.json names no pooling or another folder; expected an encoder in its folder")
    lengths = _read(folder / "sentence_bert_config.json", name) or {}
    prompts = (_read(folder / "config_sentence_transformers.json", name) or {}).get("prompts") or {}
    return EncoderSettings(
        pooling=pooling,
        normalize=normalize,
        longest=lengths.get("max_seq_length"),
        lower_case=bool(lengths.get("do_lower_case", False)),
        query_prompt=prompts.get("query", ""),
        text_prompt=prompts.get("document", prompts.get("passage", "")),
    )


def _pooling(config: dict[str, Any], name: str) -> str:
    prefix = "pooling_mode_"
    modes = [key.removeprefix(prefix) for key, value in config.items() if key.startswith(prefix) and value is True]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise UserError(f"{name}: pools by {' and '.join(modes) or 'nothing'}; expected one of {', '.join(POOLINGS)}")
    if config.get("include_prompt") is False:
        raise UserError(f"{name}: leaves its prompt out of the pooling; expected an encoder that pools all tokens")
    return modes[0]


def _read(path: Path, name: str) -> Any:
    """Return a file's JSON, or None if there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{name}: {path.name}: no JSON: {error}") from None
