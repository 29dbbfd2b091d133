"""A small random model of another's architecture, to try out in a second what the large one can do.

Invariant: the trial has every kind of layer that the model's config names, its heads' width, and the ratio of its query
heads to its key heads. Windows and soft caps are so small that a short sequence meets them.
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch

_VOCABULARY = 256
_WINDOW = 8
_WINDOWS = ("sliding_window", "attention_window_size", "window_size", "attention_chunk_size")
_HEADS = 4
_WIDTH = 64
_EXPERTS = 4
# Scores and logits then differ by several nats, as a trained model's do.
_GAIN = 1.5


def trial_model(config: Any, device: torch.device) -> Any:
    """Return a model of a config's architecture in float32, with few layers and weights drawn from a fixed seed.

    Raises:
        Exception: transformers' own, where it cannot build or run the architecture.
    """
    for shrink in (_narrow, _shallow):
        try:
            model = _build(shrink(config)).to(device)
            tokens = torch.arange(3, device=device)[None]
            with torch.no_grad():
                model(input_ids=tokens, use_cache=False)
            return model
        except Exception as error:  # Of any kind: each architecture has its own conditions on its sizes.
            failed = error
    raise failed


def _build(config: Any) -> Any:
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim > 1:
                    weight.normal_(0.0, _GAIN * weight.shape[-1] ** -0.5)
    return model.eval()


def _shallow(config: Any) -> Any:
    """Return a config of few layers and a small vocabulary, with the widths of a config."""
    small = copy.deepcopy(config)
    for name in ("quantization_config", "pad_token_id", "bos_token_id", "eos_token_id"):
        for part in (small, small.get_text_config()):
            if getattr(part, name, None) is not None:
                setattr(part, name, None)
    text = small.get_text_config()
    _keep_first_layers(text)
    # Dense layers before the first one with experts.
    _limit(text, ("first_k_dense_replace",), 1)
    _limit(text, ("vocab_size",), _VOCABULARY)
    for name in _WINDOWS:
        _limit(text, (name,), _WINDOW)
    if (getattr(text, "attn_logit_softcapping", None) or 0) > 1:
        text.attn_logit_softcapping = 1.0
    return small


def _narrow(config: Any) -> Any:
    """Return a config of few layers and narrow ones."""
    small = _shallow(config)
    text = small.get_text_config()
    sizes = [name for name in vars(text) if name.endswith(("intermediate_size", "ffn_dim", "n_inner"))]
    _limit(text, sizes, _WIDTH)
    _limit(text, ("num_experts", "num_local_experts", "n_routed_experts"), _EXPERTS)
    _limit(text, ("num_experts_per_tok", "top_k_experts"), _EXPERTS // 2)
    _limit(text, ("n_group", "topk_group"), 1)
    heads, kv_heads = (getattr(text, name, None) for name in ("num_attention_heads", "num_key_value_heads"))
    hidden = getattr(text, "hidden_size", None)
    if heads and hidden and heads > _HEADS:
        ratio = heads // (kv_heads or heads)
        few = max(_HEADS // ratio, 1) * ratio if ratio <= _HEADS else ratio
        if hidden % heads == 0:
            text.hidden_size = hidden // heads * few
        text.num_attention_heads = few
        if kv_heads:
            text.num_key_value_heads = few // ratio
    return small


def _keep_first_layers(text: Any) -> None:
    """Cut a config to its first layers, so many that each kind of layer occurs."""
    layers = text.num_hidden_layers
    lists = _lists_of_layers(text, layers)
    kept = max([min(2, layers), *(_prefix_with_all(kinds) for _, kinds in lists)])
    for name, kinds in lists:
        if name in vars(text):
            setattr(text, name, list(kinds[:kept]))
    text.num_hidden_layers = kept


def _lists_of_layers(text: Any, layers: int) -> list[tuple[str, list[Any]]]:
    names = [*vars(text), "layers_block_type", "layer_types"]
    found = ((name, getattr(text, name, None)) for name in dict.fromkeys(names))
    return [(name, value) for name, value in found if isinstance(value, list) and len(value) == layers]


def _prefix_with_all(kinds: Iterable[Any]) -> int:
    """Return the length of the shortest beginning that has every kind."""
    first: dict[str, int] = {}
    for index, kind in enumerate(kinds):
        first.setdefault(str(kind), index + 1)
    return max(first.values())


def _limit(text: Any, names: Iterable[str], most: int) -> None:
    for name in names:
        value = getattr(text, name, None)
        if isinstance(value, int) and value > most:
            setattr(text, name, most)
