"""An engine's options by its hardware."""

import os
from collections import namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.inference.vllm.actor import cpu_kv_bytes, cpu_threads, engine_options, lora_options
from rlaif.models import dtype
from rlaif.models.dtype import has_cpu_bf16, weights_dtype
from rlaif.recipe import EnginesSection

GIB = 1 << 30
MEMORY = namedtuple("MEMORY", "total available")


@pytest.mark.parametrize(
    ("flags", "bf16"),
    [
        ("flags : fpu sse2 avx avx2 fma", False),
        ("flags : avx512f avx512bw avx512_vnni", False),
        ("flags : avx512f avx512_bf16 avx512_vnni", True),
        ("flags : avx512f amx_tile amx_bf16", True),
        ("Features : fp asimd bf16 i8mm", True),
        # Only a whole word counts.
        ("flags : ebf16x fakeamx_bf16x", False),
        ("", False),
    ],
)
def test_a_cpu_has_bf16_units_or_not(flags: str, bf16: bool) -> None:
    assert has_cpu_bf16(flags) == bf16


def test_the_type_of_weights_is_the_recipes_or_the_fastest_of_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    for wanted in ("float32", "bfloat16", "float16"):
        assert weights_dtype(wanted, gpu=False) == weights_dtype(wanted, gpu=True) == wanted
    assert weights_dtype("auto", gpu=True) == "bfloat16"
    monkeypatch.setattr(dtype, "has_cpu_bf16", lambda: False)
    assert weights_dtype("auto", gpu=False) == "float32"
    monkeypatch.setattr(dtype, "has_cpu_bf16", lambda: True)
    assert weights_dtype("auto", gpu=False) == "bfloat16"


def test_an_engine_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: MEMORY(64 * GIB, 16 * GIB))
    monkeypatch.setattr(dtype, "has_cpu_bf16", lambda: False)
    options = engine_options(EnginesSection(), False, "auto", 1024, engines_on_node=1)
    assert options == {
        "dtype": "float32",
        "max_model_len": 1024,
        "max_num_seqs": 64,
        # torch.compile takes minutes on a CPU and gains nothing.
        "enforce_eager": True,
        "enable_prefix_caching": True,
        "tensor_parallel_size": 1,
        "block_size": 32,
        "enable_chunked_prefill": False,
        # The longest prompt is computed in one step.
        "max_num_batched_tokens": 2048,
        "kv_cache_memory_bytes": 2 * GIB,
    }
    assert engine_options(EnginesSection(), False, "auto", 8192, engines_on_node=1)["max_num_batched_tokens"] == 8192


def test_vllm_chooses_the_options_on_a_gpu() -> None:
    options = engine_options(
        EnginesSection(tensor_parallel=4, gpu_memory=0.8, max_num_seqs=256), True, "auto", 4096, engines_on_node=1
    )
    assert options == {
        "dtype": "bfloat16",
        "max_model_len": 4096,
        "max_num_seqs": 256,
        "enforce_eager": False,
        "enable_prefix_caching": True,
        "tensor_parallel_size": 4,
        "gpu_memory_utilization": 0.8,
    }


def test_the_recipe_overrides_the_hardware() -> None:
    section = EnginesSection(eager=False, kv_cache_gib=1.5, threads=3)
    for gpu in (False, True):
        options = engine_options(section, gpu, "float16", 1024, engines_on_node=8)
        assert options["enforce_eager"] is False
        assert options["kv_cache_memory_bytes"] == 3 * GIB // 2
        assert options["dtype"] == "float16"
    assert cpu_threads(section, engines_on_node=8) == 3


@given(available=st.integers(0, 1 << 42), engines=st.integers(0, 64))
def test_the_cache_on_a_cpu_leaves_room_for_the_trainer(available: int, engines: int) -> None:
    size = cpu_kv_bytes(available, engines)
    assert GIB // 4 <= size <= 4 * GIB
    if size > GIB // 4:
        assert max(1, engines) * size <= available // 8
    assert cpu_kv_bytes(available, engines + 1) <= size <= cpu_kv_bytes(available + GIB, engines)


def test_the_requested_memory_is_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: MEMORY(64 * GIB, 8 * GIB))
    assert engine_options(EnginesSection(), False, "float32", 1024, engines_on_node=1)["kv_cache_memory_bytes"] == GIB


def test_cores_are_shared_among_the_engines_of_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the cores that this process may use count; a container has fewer than the machine."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert [cpu_threads(EnginesSection(), engines) for engines in (0, 1, 2, 3, 8, 100)] == [8, 8, 4, 2, 1, 1]


@pytest.mark.parametrize(("rank", "allocated"), [(1, 1), (2, 8), (8, 8), (9, 16), (16, 16), (257, 320), (512, 512)])
def test_an_adapter_gets_the_next_rank_that_vllm_allocates(rank: int, allocated: int) -> None:
    assert lora_options(rank) == {"enable_lora": True, "max_loras": 1, "max_lora_rank": allocated}


def test_every_rank_of_a_recipe_has_room() -> None:
    assert all(lora_options(rank)["max_lora_rank"] >= rank for rank in range(1, 513))
