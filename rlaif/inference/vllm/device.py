"""Engine options that are fast on the hardware at hand.

On a CPU without bf16 units, float32 on all cores is seven times faster than vLLM's defaults, and torch.compile costs
two minutes and gains nothing; on a GPU vLLM's own defaults are right.
"""

import os
from typing import Any

from rlaif.models.dtype import weights_dtype
from rlaif.recipe import EnginesSection

_GIB = 1 << 30
# vLLM's default on a CPU is 128 tokens. Only whole blocks of the prefix cache are shared, so half of a short prompt
# would be computed again for each of its candidates. The CPU kernels take multiples of 32; 32 is the fastest
# (`benchmarks/judging.py`).
_CPU_BLOCK = 32
# Ranks that vLLM allocates.
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def engine_options(
    section: EnginesSection, gpu: bool, dtype: str, max_length: int, *, engines_on_node: int
) -> dict[str, Any]:
    """Return the arguments of `vllm.LLM` that depend on the hardware.

    Args:
        section: the pool's section of the recipe.
        gpu: whether the engine has GPUs.
        dtype: the recipe's `policy.dtype`.
        max_length: longest prompt and answer together, in tokens.
        engines_on_node: engines that share this node's memory; matters on a CPU only.
    """
    options: dict[str, Any] = {
        "dtype": weights_dtype(dtype, gpu),
        "max_model_len": max_length,
        "max_num_seqs": section.max_num_seqs,
        "enforce_eager": section.eager if section.eager is not None else not gpu,
        "enable_prefix_caching": True,
        "tensor_parallel_size": section.tensor_parallel,
    }
    if gpu:
        options["gpu_memory_utilization"] = section.gpu_memory
    else:
        options["block_size"] = _CPU_BLOCK
        # After each chunk of a prompt vLLM rewinds a seeded request's generator, which torch's CPU generator cannot do.
        options["enable_chunked_prefill"] = False
        options["max_num_batched_tokens"] = max(2048, max_length)
    if section.kv_cache_gib is not None:
        options["kv_cache_memory_bytes"] = int(section.kv_cache_gib * _GIB)
    elif not gpu:
        options["kv_cache_memory_bytes"] = cpu_kv_bytes(_available_memory(), engines_on_node)
    return options


def lora_options(rank: int) -> dict[str, Any]:
    """Return the arguments of `vllm.LLM` for an engine that serves one adapter of a rank beside its base model."""
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": next(size for size in _LORA_RANKS if size >= rank)}


def cpu_kv_bytes(available: int, engines: int) -> int:
    """Return an engine's KV cache on a CPU: an eighth of the free memory, shared among engines, 256 MiB to 4 GiB.

    By default vLLM takes 92% of the machine's memory, which leaves none for the trainer.
    """
    return max(_GIB // 4, min(4 * _GIB, available // 8 // max(1, engines)))


def cpu_threads(section: EnginesSection, engines_on_node: int) -> int:
    """Return an engine's threads on a CPU: as the recipe says, or an even share of the node's cores."""
    return section.threads or max(1, len(os.sched_getaffinity(0)) // max(1, engines_on_node))


def _available_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)
