"""A small random model of another's architecture, to try out in a second what the large one can do.

Invariant: the trial has every kind of layer that the model's config names, its heads' width, and the ratio of its query
heads to its key heads. Windows and soft caps are so small that a short sequence meets them.
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch

from rlaif.errors import WorkError, first_line

_VOCABULARY = 256
# Of a trial with the model's own widths: 4 GiB in float32.
_MOST_WEIGHTS = 1 << 30
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
        WorkError: the architecture runs with its own widths at most, and a trial of these would be too large.
        Exception: transformers' own, where it cannot build or run the architecture.
    """
    try:
        return _run(_build(_narrow(config)), device)
    except Exception as error:  # Of any kind: each architecture has its own conditions on its sizes.
        wide = _shallow(config)
        if (weights := _count(wide)) > _MOST_WEIGHTS:
            layers = wide.get_text_config().num_hidden_layers
            raise WorkError(
                f"{config.model_type} cannot be tried with narrow layers ({first_line(error)}), and {layers} of its "
                f"own have {weights / 1e9:.1f} billion weights, more than the {_MOST_WEIGHTS / 1e9:.1f} that are tried"
            ) from None
    return _run(_build(wide), device)


def _run(model: Any, device: torch.device) -> Any:
    """Return a model after a forward pass."""
    model = model.to(device)
    with torch.no_grad():
        model(input_ids=torch.arange(3, device=device)[None], use_cache=False)
    return model


def _count(config: Any) -> int:
    """Return the weights of a config's model, without memory for them."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return sum(weight.numel() for weight in model.parameters())


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
    text = small.get_text_config()
    for part in (small, text):
        if getattr(part, "quantization_config", None) is not None:
            part.quantization_config = None
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            # Within the small vocabulary, and of the type that it has: some configs take no other.
            given = getattr(part, name, None)
            if isinstance(given, list):
                setattr(part, name, [min(token, _VOCABULARY - 1) for token in given])
            elif given is not None:
                setattr(part, name, min(given, _VOCABULARY - 1))
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
