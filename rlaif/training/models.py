"""The policy as the trainer holds it: loaded from the round before, saved for engines and for transformers."""

from pathlib import Path
from typing import Any

from rlaif.engines.device import weights_dtype
from rlaif.models.resolve import file_sha256, weights_id
from rlaif.store.files import local_folder, put_folder
from rlaif.training.job import TrainingJob

# Left by the trainer in a saved model's folder; pickled, and of no use to whoever loads the weights.
_LEFT_OUT = ("training_args.bin", "README.md")


def load_policy(job: TrainingJob, base: str) -> Any:
    """Return the model to train: full weights in float32, or frozen weights with an adapter in float32.

    Args:
        job: says what to start from.
        base: local folder of the model that round 0 starts from.
    """
    start = local_folder(job.start, job.start_id) if job.start else ""
    if job.training.lora is None:
        # float32 for the optimizer's sake; on a GPU the forward pass runs in bfloat16 all the same.
        return load_model(start or base, "float32")
    from peft import LoraConfig, PeftModel, get_peft_model

    model = load_model(base, weights_dtype(job.dtype, job.gpu))
    if start:
        return PeftModel.from_pretrained(model, start, is_trainable=True)
    lora = job.training.lora
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, config)
    # Whoever loads the adapter looks the base up by this name: a hub id where it has one.
    adapted.peft_config["default"].base_model_name_or_path = base if job.base.startswith("builtin:") else job.base
    return adapted


def load_model(folder: str, dtype: str) -> Any:
    """Return a causal language model that takes our attention masks."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), attn_implementation="sdpa")


def save_policy(trainer: Any, tokenizer: Any, place: str, scratch: Path, rank: int) -> tuple[dict[str, str], str]:
    """Save the trained policy to its place; every worker calls, the first writes.

    Returns:
        sha256 of each file, and the policy's id; empty on the other workers.
    """
    trainer.save_model(str(scratch))
    if rank != 0:
        return {}, ""
    tokenizer.save_pretrained(scratch)
    for name in _LEFT_OUT:
        (scratch / name).unlink(missing_ok=True)
    put_folder(str(scratch), place)
    files = {path.name: file_sha256(str(path)) for path in sorted(scratch.iterdir()) if path.is_file()}
    return files, weights_id(str(scratch))
