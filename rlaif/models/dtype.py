"""The precision in which a model is held: bfloat16 where the device multiplies it in hardware, else float32."""


def has_cpu_bf16(flags: str | None = None) -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512-bf16, AMX); without, float32 is several times faster."""
    if flags is None:
        try:
            with open("/proc/cpuinfo", encoding="utf-8") as file:
                flags = next((line for line in file if line.startswith(("flags", "Features"))), "")
        except OSError:
            return False
    words = flags.split()
    return "avx512_bf16" in words or "amx_bf16" in words or "bf16" in words


def weights_dtype(wanted: str, gpu: bool) -> str:
    """Return the torch dtype's name for a recipe's `policy.dtype`."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if gpu or has_cpu_bf16() else "float32"
