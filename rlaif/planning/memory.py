"""Bytes that an engine and a training worker take on one device, computed from the model's shape.

Sources: the KV cache of grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245); activations counted tensor by
tensor in the manner of Korthikanti et al. 2022 (arXiv:2205.05198, section 4), for a gated MLP and a fused attention
kernel that keeps no attention matrix; LoRA (Hu et al. 2021, arXiv:2106.09685); sharding of weights, gradients and
optimizer (Rajbhandari et al. 2020, arXiv:1910.02054).
"""

import math
from dataclasses import asdict, dataclass

from rlaif.models.shape import ModelShape
from rlaif.recipe import PolicyTrainingSection, TrainersSection

GIB = 1 << 30

# CUDA context, CUDA graphs and NCCL buffers of a process on a GPU; loaded libraries of a process on a CPU.
_ENGINE_OVERHEAD = 3 * GIB // 2
_TRAINER_OVERHEAD_GPU, _TRAINER_OVERHEAD_CPU = 2 * GIB, GIB
# Most prompt tokens that vLLM computes in a step on a data-centre GPU.
_ENGINE_STEP_TOKENS = 8192
_FLOAT32 = 4


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one process on its device, in bytes.

    Attributes:
        weights: the model's, and other workers' shards that are gathered at the same time.
        adapter: LoRA's weights.
        optimizer: AdamW's two moments.
        activations: kept from the forward pass for the backward pass, and the logits; for an engine, those of a step.
        overhead: contexts, graphs, buffers, libraries.
    """

    weights: int = 0
    adapter: int = 0
    kv_cache: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    overhead: int = 0

    @property
    def total(self) -> int:
        return sum(self.parts().values())

    def parts(self) -> dict[str, int]:
        return asdict(self)


def gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def kv_bytes_per_token(shape: ModelShape, dtype_bytes: int, tensor_parallel: int = 1) -> int:
    """Return the KV cache of one token on one device: 2 * layers * kv_heads * head_dim * bytes.

    A device holds at least one head; with more devices than heads, heads are repeated.
    """
    heads = max(1, math.ceil(shape.kv_heads / tensor_parallel))
    return 2 * shape.layers * heads * shape.head_dim * dtype_bytes


def engine_memory(
    shape: ModelShape,
    *,
    dtype_bytes: int,
    tensor_parallel: int,
    max_num_seqs: int,
    lora_rank: int | None,
    adapters: int = 1,
    gpu: bool,
) -> Memory:
    """Return an engine's memory on each of its devices, without the KV cache.

    Args:
        dtype_bytes: bytes of a weight.
        tensor_parallel: devices that share the weights.
        max_num_seqs: sequences in a step; each has its logits, in float32.
        lora_rank: None without adapters.
        adapters: that it holds at once.
    """
    step = dtype_bytes * _ENGINE_STEP_TOKENS * (4 * shape.hidden + 3 * shape.intermediate // tensor_parallel)
    logits = max_num_seqs * shape.vocab * (dtype_bytes + _FLOAT32)
    adapter = adapters * shape.lora_parameters(lora_rank, "all-linear") * dtype_bytes if lora_rank else 0
    return Memory(
        weights=shape.parameters * dtype_bytes // tensor_parallel,
        adapter=adapter,
        activations=(step if gpu else step // 4) + logits,
        overhead=_ENGINE_OVERHEAD,
    )


def activation_bytes_per_token(shape: ModelShape, *, autocast: bool, lora: bool) -> int:
    """Return the bytes that autograd keeps of one decoder layer for one token.

    Args:
        autocast: matrices multiply in bfloat16 (as on a GPU); each linear keeps its own cast input. Without,
            `cpu_layers` lets a norm and the linears behind it share their tensors, and halves those of the MLPs.
        lora: only adapters are trained: norms keep only their inputs, MLPs keep everything.
    """
    width = 2 if autocast else 4
    norms = _FLOAT32 * shape.hidden * (0 if not autocast else 2 if lora else 4)
    linear_inputs = width * shape.hidden * (5 if autocast else 2)
    # Queries, keys, values, the output, and the row that it is joined into; an adapter keeps a cast copy of the row.
    attention = width * (shape.q_width * (4 if autocast and lora else 3) + 2 * shape.kv_width) + _FLOAT32 * shape.heads
    mlp = (4 if autocast or lora else 2) * width * shape.intermediate
    return norms + linear_inputs + attention + mlp


def trainer_memory(
    shape: ModelShape,
    training: PolicyTrainingSection,
    section: TrainersSection,
    *,
    dtype_bytes: int,
    row_tokens: int,
    answer_tokens: int,
    gpu: bool,
) -> Memory:
    """Return a training worker's memory on its device.

    Full weights, adapters, their gradients and AdamW's moments are float32; a frozen base has the recipe's dtype.

    Args:
        dtype_bytes: bytes of a frozen weight.
        row_tokens: tokens of the longest forward pass.
        answer_tokens: of these, the tokens whose logits are computed.
        gpu: whether it runs on a GPU, where matrices multiply in bfloat16.
    """
    lora, sharded = training.lora, section.strategy == "fsdp"
    trained = shape.lora_parameters(lora.rank, lora.targets) if lora else shape.parameters
    frozen_bytes = shape.parameters * dtype_bytes if lora else 0
    shards = section.workers if sharded else 1
    width = 2 if gpu else 4
    gathered = 0
    if shards > 1:
        # Embedding and head stay gathered; so do the layer in use and the next.
        gathered = width * (shape.embedding_parameters + 2 * shape.layer_parameters)
    elif gpu and lora is None:
        gathered = width * shape.parameters  # autocast's copies
    # Without shards, DistributedDataParallel sums gradients in buckets of its own.
    gradient_copies = 2 if section.workers > 1 and not sharded else 1
    layer = row_tokens * activation_bytes_per_token(shape, autocast=gpu, lora=lora is not None)
    kept = shape.layers * layer
    if training.gradient_checkpointing:
        # Only each layer's input is kept, and one layer's activations are recomputed at a time.
        kept = shape.layers * row_tokens * shape.hidden * (width if lora else _FLOAT32) + layer
    # Counted once: the gradient overwrites them, and `token_logps` copies only a few rows at a time to float32.
    logits = answer_tokens * shape.vocab * width
    return Memory(
        weights=(frozen_bytes + (0 if lora else trained * _FLOAT32)) // shards + gathered,
        adapter=trained * _FLOAT32 // shards if lora else 0,
        gradients=trained * _FLOAT32 * gradient_copies // shards,
        optimizer=2 * trained * _FLOAT32 // shards,
        activations=kept + logits,
        overhead=_TRAINER_OVERHEAD_GPU if gpu else _TRAINER_OVERHEAD_CPU,
    )
