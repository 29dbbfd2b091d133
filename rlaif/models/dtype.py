"""The precision in which a model is held: bfloat16 where the device multiplies it in hardware, else float32."""


def has_cpu_bf16(flags: str | None = None) -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512-bf16, AMX); without it float32 is several times faster.

    `flags` is the CPU's line of flags; None reads /proc/cpuinfo.
    """
    if flags is None:
        try:
            with open("/proc/cpuinfo", encoding="utf-8") as file:
                flags = next((line for line in file if line.startswith(("flags", "Features"))), "")
        except OSError:
            return False
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags.split())


def weights_dtype(wanted: str, gpu: bool) -> str:
    """Return the torch dtype's name for a recipe's `policy.dtype`."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if gpu or has_cpu_bf16() else "float32"


def bfloat16_passes(wanted: str, gpu: bool) -> bool:
    """Whether a training's matrices multiply in bfloat16 whatever its weights' precision."""
    return gpu and wanted in ("auto", "bfloat16")
