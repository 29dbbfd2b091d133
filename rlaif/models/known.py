"""The shapes of well-known models, as their public `config.json` gives them: for a machine that reaches no hub.

Invariant: a row says nothing that the model's own config does not; the test of this table holds each row's computed
parameter count against the number of parameters that its publisher names.
"""

from rlaif.models.shape import ModelShape


def _llama(
    layers: int, hidden: int, intermediate: int, heads: int, kv_heads: int, vocab: int, *, tied: bool = False
) -> ModelShape:
    return ModelShape(layers, hidden, intermediate, heads, kv_heads, hidden // heads, vocab, tied)


def _qwen2(
    layers: int, hidden: int, intermediate: int, heads: int, kv_heads: int, vocab: int, *, tied: bool = False
) -> ModelShape:
    return ModelShape(layers, hidden, intermediate, heads, kv_heads, hidden // heads, vocab, tied, qkv_bias=True)


def _qwen3(layers: int, hidden: int, intermediate: int, heads: int, *, tied: bool = False) -> ModelShape:
    return ModelShape(layers, hidden, intermediate, heads, 8, 128, 151_936, tied, qk_norm=True)


SMOLLM2_135M = _llama(30, 576, 1536, 9, 3, 49_152, tied=True)

_LLAMA_8B = _llama(32, 4096, 14_336, 32, 8, 128_256)
_LLAMA_70B = _llama(80, 8192, 28_672, 64, 8, 128_256)

KNOWN: dict[str, ModelShape] = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": SMOLLM2_135M,
    "HuggingFaceTB/SmolLM2-360M-Instruct": _llama(32, 960, 2560, 15, 5, 49_152, tied=True),
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": _llama(24, 2048, 8192, 32, 32, 49_152, tied=True),
    "meta-llama/Llama-3.2-1B-Instruct": _llama(16, 2048, 8192, 32, 8, 128_256, tied=True),
    "meta-llama/Llama-3.2-3B-Instruct": _llama(28, 3072, 8192, 24, 8, 128_256, tied=True),
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA_8B,
    "meta-llama/Llama-3.1-70B-Instruct": _LLAMA_70B,
    "meta-llama/Llama-3.3-70B-Instruct": _LLAMA_70B,
    "mistralai/Mistral-7B-Instruct-v0.3": _llama(32, 4096, 14_336, 32, 8, 32_768),
    "Qwen/Qwen2.5-0.5B-Instruct": _qwen2(24, 896, 4864, 14, 2, 151_936, tied=True),
    "Qwen/Qwen2.5-1.5B-Instruct": _qwen2(28, 1536, 8960, 12, 2, 151_936, tied=True),
    "Qwen/Qwen2.5-3B-Instruct": _qwen2(36, 2048, 11_008, 16, 2, 151_936, tied=True),
    "Qwen/Qwen2.5-7B-Instruct": _qwen2(28, 3584, 18_944, 28, 4, 152_064),
    "Qwen/Qwen2.5-14B-Instruct": _qwen2(48, 5120, 13_824, 40, 8, 152_064),
    "Qwen/Qwen2.5-32B-Instruct": _qwen2(64, 5120, 27_648, 40, 8, 152_064),
    "Qwen/Qwen2.5-72B-Instruct": _qwen2(80, 8192, 29_568, 64, 8, 152_064),
    "Qwen/Qwen3-0.6B": _qwen3(28, 1024, 3072, 16, tied=True),
    "Qwen/Qwen3-1.7B": _qwen3(28, 2048, 6144, 16, tied=True),
    "Qwen/Qwen3-4B": _qwen3(36, 2560, 9728, 32, tied=True),
    "Qwen/Qwen3-8B": _qwen3(36, 4096, 12_288, 32),
    "Qwen/Qwen3-14B": _qwen3(40, 5120, 17_408, 40),
    "Qwen/Qwen3-32B": _qwen3(64, 5120, 25_600, 64),
}
