"""Finds the shape of a model by name, from its config or, where no hub answers, from a table of published ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rlaif.errors import UserError
from rlaif.models.hub import hub_answers
from rlaif.models.known import KNOWN, SMOLLM2_135M
from rlaif.models.resolve import BUILTIN, check_model
from rlaif.models.shape import ModelShape

# Architectures whose parameters `ModelShape` counts exactly.
_EXACT = ("llama", "mistral", "qwen2", "qwen3")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def model_shape(model: str, revision: str | None = None) -> ModelShape:
    """Return the shape of a model; its `source` says where it was found.

    Args:
        model: `builtin:smollm2-135m`, a local directory, or a hub id.
        revision: branch, tag or commit of a hub model.

    Raises:
        UserError: there is no such model, its shape is not to be had offline, or it is no dense decoder.
    """
    if model.startswith("builtin:"):
        if model != BUILTIN:
            check_model(model)
        return replace(SMOLLM2_135M, source="built in")
    if Path(model).is_dir():
        check_model(model)
        return _from_config(model, None, f"{model}/config.json")
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        check_model(model)
    try:
        return _from_config(model, revision, "the hub's config.json" if hub_answers() else "the hub's local cache")
    except OSError as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        if not hub_answers():
            reason = "the hub was not to be reached"
        if model in KNOWN:
            return replace(KNOWN[model], source=f"a table of published shapes ({reason})")
        raise UserError(
            f"{model}: its shape is unknown: not a directory, not in the local cache, and {reason}"
        ) from None


def _from_config(model: str, revision: str | None, source: str) -> ModelShape:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model, revision=revision or "main")
    except (ValueError, KeyError) as error:
        raise UserError(f"{model}: its config.json is of no model that transformers knows: {error}") from None
    return shape_of_config(config, model, source)


def shape_of_config(config: Any, model: str, source: str) -> ModelShape:
    """Return the shape that a transformers config describes; `model` and `source` are for messages.

    Raises:
        UserError: the config is of a mixture of experts or lacks a size.
    """
    text = config.get_text_config()
    if any((getattr(text, name, None) or 0) > 1 for name in _EXPERTS):
        raise UserError(f"{model}: a mixture of experts; the plan counts dense decoder models only")
    hidden, heads = getattr(text, "hidden_size", None), getattr(text, "num_attention_heads", None)
    layers, vocab = getattr(text, "num_hidden_layers", None), getattr(text, "vocab_size", None)
    if not (hidden and heads and layers and vocab):
        raise UserError(
            f"{model}: {source} is of no decoder model: hidden_size, heads, layers or vocab_size is missing"
        )
    kind = str(text.model_type)
    if kind not in _EXACT:
        source = f"{source}; a {kind} is counted as if it were a Llama, so its size is approximate"
    return ModelShape(
        layers=int(layers),
        hidden=int(hidden),
        intermediate=int(getattr(text, "intermediate_size", None) or 4 * hidden),
        heads=int(heads),
        kv_heads=int(getattr(text, "num_key_value_heads", None) or heads),
        head_dim=int(getattr(text, "head_dim", None) or hidden // heads),
        vocab=int(vocab),
        tied_embeddings=bool(getattr(config, "tie_word_embeddings", False)),
        qkv_bias=kind == "qwen2",
        qk_norm=kind == "qwen3",
        source=source,
    )
