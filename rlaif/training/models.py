"""The policy as the trainer holds it: loaded from the round before, saved for engines and for transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlaif.errors import WorkError
from rlaif.io.files import local_folder, put_folder
from rlaif.models.dtype import weights_dtype
from rlaif.models.resolve import file_sha256, weights_id
from rlaif.training.dpo.job import TrainingJob
from rlaif.training.groups import Group

# Left by the trainer in a saved model's folder; pickled, and of no use to whoever loads the weights.
_LEFT_OUT = ("training_args.bin", "README.md")


def load_policy(job: TrainingJob, base: str) -> Any:
    """Return the model to train: full weights in float32, or frozen weights with an adapter in float32.

    Args:
        job: says what to start from.
        base: local folder of the model that round 0 starts from.
    """
    start = local_folder(job.start, job.start_id) if job.start else ""
    lora = job.training.lora
    # All weights in float32 for the optimizer's sake; on a GPU the forward pass runs in bfloat16 all the same.
    dtype = weights_dtype(job.dtype, job.gpu) if lora else "float32"
    model = load_model(base if lora else start or base, dtype, job.gpu)
    if lora is None:
        return model
    from peft import LoraConfig, PeftModel, get_peft_model

    if start:
        return PeftModel.from_pretrained(model, start, is_trainable=True)
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


def load_model(folder: str, dtype: str, on_gpu: bool = False) -> Any:
    """Return a causal language model that scores packed groups.

    Args:
        folder: of the model's files.
        dtype: of its weights, as torch names it.
        on_gpu: whether it is about to run on CUDA.

    Raises:
        WorkError: its layers cannot keep the candidates of a prompt apart.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from rlaif.training.kernels.answer_head import add_answer_head
    from rlaif.training.kernels.attention import longest_context, set_attention

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), attn_implementation="sdpa")
    try:
        longest_context(model.config)
    except ValueError as error:
        raise WorkError(f"{folder}: cannot train on groups of candidates: {error}") from None
    set_attention(model, on_gpu)
    add_answer_head(model)
    return model


def check_lengths(groups: Sequence[Group], model: Any) -> None:
    """Refuse groups with a candidate that a layer with a sliding window would not see whole.

    Raises:
        WorkError: with the pairs of the longest group.
    """
    from rlaif.training.kernels.attention import longest_context

    window = longest_context(model.config)
    if window is None or not groups:
        return
    longest = max(groups, key=_reach)
    if _reach(longest) > window:
        ids = ", ".join(pair.id for pair in longest.pairs)
        raise WorkError(
            f"a prompt with its answer has {_reach(longest)} tokens, and the model attends to {window} at a time; "
            f"its pairs: {ids}"
        )


def _reach(group: Group) -> int:
    return len(group.prompt_token_ids) + max(map(len, group.candidates), default=0)


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
