"""Adapters for tests: small, random, and not zero, so that their policy differs from their base."""

import json
from pathlib import Path
from typing import Any

import torch


def save_adapter(folder: Path, base: str, *, seed: int = 1, size: float = 0.1, **settings: Any) -> Path:
    """Write a LoRA adapter on a model's folder as peft saves it, with random matrices, and return its folder."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    options = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings}
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), LoraConfig(**options))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=size)
    adapted.peft_config["default"].base_model_name_or_path = base
    adapted.save_pretrained(folder)
    return folder


def change_config(folder: Path, **changes: Any) -> None:
    """Change settings in an adapter's `adapter_config.json`."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
