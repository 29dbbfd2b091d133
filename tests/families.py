"""A tiny configuration of each model family, with every kind of layer that the family has."""

from dataclasses import dataclass, field
from typing import Any

from transformers import AutoConfig

WINDOW = 16
_SIZES = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": None, "bos_token_id": None,
    "eos_token_id": None,
}  # fmt: skip
_TOKENS = {"vocab_size": 300, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
_NARROW_HEADS = {"head_dim": 8}
_WINDOWED = {"sliding_window": WINDOW}
_LONGROPE = {
    "rope_type": "longrope", "rope_theta": 10_000.0, "factor": 16.0,
    "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Family:
    """A family.

    Attributes:
        changes: to the usual sizes, or all sizes where those have other names (`usual`).
        attention: the kind that it is expected to be trained with.
        why: it is unpacked.
        engine: whether tests train it through vLLM.
    """

    name: str
    model_type: str
    changes: dict[str, Any] = field(default_factory=dict)
    attention: str = "groups"

    usual: bool = True
    why: str = ""
    engine: bool = False

    def config(self) -> Any:
        return AutoConfig.for_model(self.model_type, **{**(_SIZES if self.usual else _TOKENS), **self.changes})


def _unusual(name: str, model_type: str, attention: str, why: str = "", **sizes: Any) -> Family:
    """A family whose sizes have names of their own."""
    return Family(name, model_type, sizes, attention, usual=False, why=why)


FAMILIES = (
    Family("Llama, SmolLM2", "llama", engine=True),
    Family("Qwen2", "qwen2"),
    Family("Qwen3", "qwen3", _NARROW_HEADS),
    Family("Qwen3-MoE", "qwen3_moe", {**_NARROW_HEADS, **_EXPERTS, "num_experts": 4}),
    Family("Mistral", "mistral", _WINDOWED),
    Family("Mixtral", "mixtral", {**_WINDOWED, "num_experts_per_tok": 2, "num_local_experts": 4}),
    Family("Gemma 2", "gemma2", {**_NARROW_HEADS, **_WINDOWED, "attn_logit_softcapping": 2.0}),
    Family("Gemma 3", "gemma3_text", {**_NARROW_HEADS, **_WINDOWED, "num_hidden_layers": 6}),
    Family(
        "gpt-oss", "gpt_oss", {**_NARROW_HEADS, **_WINDOWED, "num_experts_per_tok": 2, "num_local_experts": 4}
    ),
    Family("Phi-3", "phi3", _WINDOWED),
    Family(
        "Phi-3, beyond its first context", "phi3",
        {"rope_parameters": _LONGROPE, "original_max_position_embeddings": 32}, "alone",
        why="one sequence beyond it changes the rotary angles of its row",
    ),
    Family("OLMo 2", "olmo2"),
    Family("OLMo 3", "olmo3", {**_WINDOWED, "num_hidden_layers": 4}),
    Family("SmolLM3", "smollm3", {"num_hidden_layers": 4}),
    Family("Granite", "granite"),
    Family("Cohere 2", "cohere2", {**_WINDOWED, "num_hidden_layers": 4}),
    Family("GLM-4", "glm4", _NARROW_HEADS),
    Family(
        "DeepSeek-V3", "deepseek_v3",
        {**_EXPERTS, "num_key_value_heads": 4, "n_routed_experts": 4, "n_group": 1, "topk_group": 1,
         "first_k_dense_replace": 1, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
         "v_head_dim": 8},
    ),
    _unusual("GPT-2", "gpt2", "groups", n_embd=32, n_layer=2, n_head=2, n_positions=256),
    _unusual("GPT-J", "gptj", "eager", n_embd=32, n_layer=2, n_head=4, rotary_dim=4, n_positions=256),
    Family(
        "Falcon-H1", "falcon_h1",
        {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8}, "alone",
        why="state-space layers",
    ),
    Family(
        "Qwen3-Next", "qwen3_next",
        {**_NARROW_HEADS, **_EXPERTS, "num_hidden_layers": 4, "num_experts": 4, "shared_expert_intermediate_size": 16,
         "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8},
        "alone", why="linear attention",
    ),
    Family(
        "LFM2", "lfm2", {"num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"]}, "alone",
        why="convolutions over tokens",
    ),
    _unusual(
        "RecurrentGemma", "recurrent_gemma", "alone", "recurrent layers", hidden_size=32, intermediate_size=48,
        num_hidden_layers=3, num_attention_heads=4, lru_width=32, attention_window_size=WINDOW,
    ),
    _unusual(
        "Mamba 2", "mamba2", "alone", "state-space layers", hidden_size=32, num_hidden_layers=2, num_heads=8,
        head_dim=8, state_size=8, n_groups=1,
    ),
    _unusual("BLOOM", "bloom", "alone", "positions are counted along the row", hidden_size=32, n_layer=2, n_head=4),
)  # fmt: skip
