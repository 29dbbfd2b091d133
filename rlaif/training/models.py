"""Models of a training: loaded, used to score candidates, and saved for engines, judges and transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rlaif.errors import WorkError
from rlaif.io.files import local_folder, put_folder
from rlaif.models.dtype import weights_dtype
from rlaif.models.resolve import file_sha256, resolve_model, weights_id
from rlaif.recipe import LoraSection
from rlaif.training.groups import Group, pack_in_order
from rlaif.training.job import StartingWeights


def load_policy(start: StartingWeights, base: str, lora: LoraSection | None, *, gpu: bool) -> Any:
    """Return the model to train: full weights in float32, or frozen weights with an adapter in float32.

    Args:
        base: local folder of `start.base`.
        lora: the adapter to train; None trains all weights.
    """
    folder = local_folder(start.path, start.id) if start.path else ""
    # The optimizer needs all trained weights in float32; on a GPU the passes run in bfloat16 all the same.
    dtype = weights_dtype(start.dtype, gpu) if lora else "float32"
    model = load_model(base if lora else folder or base, dtype, gpu)
    if lora is None:
        return model
    from peft import PeftModel, get_peft_model

    if folder:
        return PeftModel.from_pretrained(model, folder, is_trainable=True)
    adapted = get_peft_model(model, lora_config(lora, "CAUSAL_LM"))
    # Readers of the adapter find its base by this name: a hub id where it has one.
    adapted.peft_config["default"].base_model_name_or_path = base if start.base.startswith("builtin:") else start.base
    return adapted


def load_model(folder: str, dtype: str, on_gpu: bool = False) -> Any:
    """Return a causal language model that scores packed groups.

    Raises:
        WorkError: its layers cannot separate the candidates of a prompt.
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


def load_classifier(folder: str, dtype: str, tokenizer: Any) -> Any:
    """Return a sequence classifier with one output; a language model gets a new output, drawn by torch's seed.

    The tokenizer names the padding token; the classifier reads its score at the last other token.
    """
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # It warns of a new output and of an unused head, both of which are intended.
    try:
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=getattr(torch, dtype), num_labels=1)
    finally:
        logging.set_verbosity(verbosity)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model


def lora_config(lora: LoraSection, task: Literal["CAUSAL_LM", "SEQ_CLS"]) -> Any:
    """Return peft's configuration of an adapter; for `SEQ_CLS`, peft also trains and saves the classifier's output."""
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.targets, task_type=task
    )


def check_lengths(groups: Sequence[Group], model: Any) -> None:
    """Raise a `WorkError` for groups with a candidate longer than a layer's sliding window."""
    from rlaif.training.kernels.attention import longest_context

    window = longest_context(model.config)
    lengths = [len(group.prompt_token_ids) + max(map(len, group.candidates), default=0) for group in groups]
    longest = max(lengths, default=0)
    if window is not None and longest > window:
        ids = ", ".join(pair.id for pair in groups[lengths.index(longest)].pairs)
        raise WorkError(
            f"a prompt with its answer has {longest} tokens, and the model attends to {window} at a time; its "
            f"pairs: {ids}"
        )


def score_groups(model: Any, groups: Sequence[Group], max_tokens: int, gpu: bool) -> list[list[float]]:
    """Return each candidate's summed log-probability, in nats, for each group; without gradients.

    Args:
        model: of `load_model`, with or without an adapter.
        max_tokens: token budget of a forward pass.
        gpu: whether to run on this process's GPU.
    """
    import torch

    from rlaif.training.kernels.attention import attention_of
    from rlaif.training.shared_prompt import candidate_logps, pack_row

    device = torch.device("cuda" if gpu else "cpu")
    model.to(device).eval()
    scores: list[list[float]] = []
    with torch.no_grad():
        for indices in pack_in_order(groups, max_tokens):
            part = [groups[index] for index in indices]
            flat = iter(candidate_logps(model, pack_row(part).to(device), attention_of(model)).tolist())
            scores += [[next(flat) for _ in group.candidates] for group in part]
    model.train()
    return scores


def score_with_base(start: StartingWeights, groups: Sequence[Group], max_tokens: int, gpu: bool) -> list[list[float]]:
    """Load the base of some weights and return `score_groups` under it; for a process of its own."""
    from rlaif.training.worker import set_threads

    if not gpu:
        set_threads(None)
    model = load_model(resolve_model(start.base, start.revision), weights_dtype(start.dtype, gpu), gpu)
    return score_groups(model, groups, max_tokens, gpu)


def save_model(folder: Path, tokenizer: Any, out: str) -> tuple[dict[str, str], str]:
    """Complete a saved model and copy it to a path or URL; return the sha256 of its files and of the weights."""
    tokenizer.save_pretrained(folder)
    # The trainer leaves both; the first is pickled, and nothing that loads weights needs either.
    for name in ("training_args.bin", "README.md"):
        (folder / name).unlink(missing_ok=True)
    put_folder(str(folder), out)
    files = {path.name: file_sha256(str(path)) for path in sorted(folder.iterdir()) if path.is_file()}
    return files, weights_id(str(folder))
