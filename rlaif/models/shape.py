"""The shape of a decoder-only language model, from which its memory and its arithmetic follow.

Invariant: `parameters` is exact for the Llama family (Llama, Mistral, Qwen2, Qwen3, SmolLM2): grouped-query attention,
a gated MLP of three matrices and two RMSNorms per layer, one RMSNorm at the end.
"""

from collections.abc import Collection
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a dense decoder-only model.

    Attributes:
        layers: decoder layers.
        hidden: width of the residual stream.
        intermediate: width of the gated MLP.
        heads, kv_heads: attention heads; key-value heads.
        head_dim: width of a head.
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

        Args:
            rank: of the update.
            targets: names of modules such as `q_proj`, or `all-linear` for every matrix of the decoder layers.
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
