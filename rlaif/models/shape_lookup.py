"""Finds the shape of a model by name.

Every shape comes from a config: the model's own `config.json` or, for a model that cannot be reached, the excerpt of
it in `published_configs.json`.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rlaif.errors import UserError, first_line
from rlaif.models.hub import hub_answers
from rlaif.models.resolve import BUILTIN, check_model, is_path
from rlaif.models.shape import ModelShape

_PUBLISHED = Path(__file__).with_name("published_configs.json")
_BUILTIN_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
# Architectures whose parameters `ModelShape` counts exactly.
_EXACT = ("llama", "mistral", "qwen2", "qwen3")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def model_shape(model: str, revision: str | None = None) -> ModelShape:
    """Return the shape of a model; its `source` names where it was found.

    Args:
        model: `builtin:smollm2-135m`, a local directory, or a hub id.
        revision: branch, tag or commit of a hub model.

    Raises:
        UserError: the model does not exist, its config cannot be read, or it is not a dense decoder.
    """
    if model == BUILTIN:
        return _published(_BUILTIN_HUB_ID, "built in")
    if model.startswith("builtin:") or is_path(model):
        check_model(model)
        return _of_config_file(model, None, f"{model}/config.json")
    try:
        return _of_config_file(model, revision, "the hub's config.json" if hub_answers() else "the hub's local cache")
    except OSError as error:
        reason = first_line(error) if hub_answers() else "the hub could not be reached"
        return published_shape(model, reason)


def published_shape(model: str, reason: str) -> ModelShape:
    """Return the shape of a model in `published_configs.json`.

    Args:
        model: a hub id.
        reason: why the model's own config could not be read, for the shape's `source` and the message.

    Raises:
        UserError: the model is not in the table.
    """
    try:
        return _published(model, f"a table of published shapes ({reason})")
    except KeyError:
        raise UserError(
            f"{model}: its shape is unknown: not a directory, not in the local cache, and {reason}"
        ) from None


def _published(model: str, source: str) -> ModelShape:
    config = json.loads(_PUBLISHED.read_text(encoding="utf-8"))[model]
    return _shape(SimpleNamespace(**config), config["tie_word_embeddings"], model, source)


def _of_config_file(model: str, revision: str | None, source: str) -> ModelShape:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model, revision=revision or "main")
    except (ValueError, KeyError) as error:
        raise UserError(f"{model}: transformers does not know the model of its config.json: {error}") from None
    return _shape(config.get_text_config(), getattr(config, "tie_word_embeddings", False), model, source)


def _shape(config: Any, tied_embeddings: bool, model: str, source: str) -> ModelShape:
    if any((getattr(config, name, None) or 0) > 1 for name in _EXPERTS):
        raise UserError(f"{model}: a mixture of experts; the plan counts dense decoder models only")
    hidden, heads = getattr(config, "hidden_size", None), getattr(config, "num_attention_heads", None)
    layers, vocab = getattr(config, "num_hidden_layers", None), getattr(config, "vocab_size", None)
    if not (hidden and heads and layers and vocab):
        raise UserError(
            f"{model}: not a decoder model: hidden_size, num_attention_heads, num_hidden_layers or vocab_size is "
            f"missing in {source}"
        )
    kind = str(config.model_type)
    if kind not in _EXACT:
        source = f"{source}; {kind} is counted like Llama, so its size is approximate"
    return ModelShape(
        layers=int(layers),
        hidden=int(hidden),
        intermediate=int(getattr(config, "intermediate_size", None) or 4 * hidden),
        heads=int(heads),
        kv_heads=int(getattr(config, "num_key_value_heads", None) or heads),
        head_dim=int(getattr(config, "head_dim", None) or hidden // heads),
        vocab=int(vocab),
        tied_embeddings=bool(tied_embeddings),
        qkv_bias=kind == "qwen2",
        qk_norm=kind == "qwen3",
        source=source,
    )
