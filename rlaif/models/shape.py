"""What a model's config says: its shape, from which its memory and its arithmetic follow, and its longest sequence.

Invariant: `ModelShape.parameters` is exact for the Llama family (Llama, Mistral, Qwen2, Qwen3, SmolLM2): grouped-query
attention, a gated MLP of three matrices and two RMSNorms per layer, one RMSNorm at the end.

Every shape comes from a config: the model's own `config.json` or, for a model that cannot be reached, the excerpt of
it in `published_configs.json`.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rlaif.errors import UserError, first_line
from rlaif.models.adapter import is_adapter, read_adapter
from rlaif.models.builtin import BUILTIN
from rlaif.models.model_files import read_settings
from rlaif.models.resolve import check_model, find_adapter, hub_answers, is_path

_PUBLISHED = Path(__file__).with_name("published_configs.json")
_BUILTIN_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
# Architectures whose parameters `ModelShape` counts exactly.
_EXACT = ("llama", "mistral", "qwen2", "qwen3")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a dense decoder-only model.

    Attributes:
        hidden: width of the residual stream.
        intermediate: width of the gated MLP.
        vocab: rows of the embedding.
        tied_embeddings: whether the LM head is the embedding.
        qkv_bias: whether the query, key and value projections have a bias (Qwen2).
        qk_norm: whether queries and keys are normalized per head (Qwen3).
        source: where the sizes come from, for messages.
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied_embeddings: bool
    qkv_bias: bool = False
    qk_norm: bool = False
    source: str = field(default="", compare=False)

    @property
    def q_width(self) -> int:
        """Width of the queries of all heads."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of the keys of all key-value heads; the values have the same."""
        return self.kv_heads * self.head_dim

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding and, where it is a separate matrix, of the LM head."""
        return self.vocab * self.hidden * (1 if self.tied_embeddings else 2)

    @property
    def layer_parameters(self) -> int:
        """Parameters of one decoder layer."""
        matrices = sum(inputs * outputs for inputs, outputs in self._matrices().values())
        bias = self.q_width + 2 * self.kv_width if self.qkv_bias else 0
        norms = 2 * self.hidden + (2 * self.head_dim if self.qk_norm else 0)
        return matrices + bias + norms

    @property
    def parameters(self) -> int:
        """All parameters of the model."""
        return self.embedding_parameters + self.layers * self.layer_parameters + self.hidden

    def lora_parameters(self, rank: int, targets: str | Collection[str]) -> int:
        """Return the parameters of a LoRA adapter: `rank * (inputs + outputs)` for each adapted matrix.

        `targets` names modules such as `q_proj`; `all-linear` is every matrix of the decoder layers.
        """
        matrices = self._matrices()
        if targets == "all-linear":
            targets = matrices.keys()
        elif isinstance(targets, str):
            targets = {targets}
        return rank * self.layers * sum(sum(size) for name, size in matrices.items() if name in targets)

    def _matrices(self) -> dict[str, tuple[int, int]]:
        """Return the inputs and outputs of each matrix of a decoder layer."""
        return {
            "q_proj": (self.hidden, self.q_width),
            "k_proj": (self.hidden, self.kv_width),
            "v_proj": (self.hidden, self.kv_width),
            "o_proj": (self.q_width, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }


def model_context(model: str) -> int | None:
    """Return the longest sequence that a model takes, in tokens; None for a hub model, whose config is not here."""
    if model == BUILTIN:
        return 8192
    if Path(model).is_dir() and is_adapter(model):
        return model_context(read_adapter(model, model).base)
    config = Path(model) / "config.json"
    if not config.is_file():
        return None
    value = read_settings(config).get("max_position_embeddings")
    return int(value) if value else None


def context_within(model: str, tokens: int) -> int:
    """Return `tokens`, or the longest sequence that the model takes where that is known to be shorter."""
    return min(tokens, model_context(model) or tokens)


def model_shape(model: str, revision: str | None = None) -> ModelShape:
    """Return the shape of a model; its `source` names where it was found.

    Raises:
        UserError: the model does not exist, its config cannot be read, or it is not a dense decoder.
    """
    if (adapter := find_adapter(model, revision)) is not None:
        return model_shape(adapter.base, adapter.base_revision)
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
    """Return the shape of a hub model in `published_configs.json`; `reason` says why its own config was not read."""
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
