"""The model that is trained: loaded from where the training starts, and saved for engines, judges and transformers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rlaif.errors import WorkError
from rlaif.io.files import local_folder, put_folder
from rlaif.models.dtype import weights_dtype
from rlaif.models.resolve import file_sha256, weights_id
from rlaif.recipe import LoraSection
from rlaif.training.groups import Group
from rlaif.training.job import StartingWeights

# The trainer leaves them in a saved model's folder; the first is pickled, and nothing that loads weights needs either.
_LEFT_OUT = ("training_args.bin", "README.md")


def load_policy(start: StartingWeights, base: str, lora: LoraSection | None, *, gpu: bool) -> Any:
    """Return the model to train: full weights in float32, or frozen weights with an adapter in float32.

    Args:
        start: the weights to start from.
        base: local folder of `start.base`.
        lora: the adapter to train; None trains all weights.
        gpu: whether it runs on CUDA.
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

    Args:
        folder: of the model's files.
        dtype: of its weights, as torch names it.
        on_gpu: whether it will run on CUDA.

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

    Args:
        folder: of a language model, or of a reward model to train further.
        dtype: of its weights, as torch names it.
        tokenizer: names the padding token; the classifier reads its score at the last other token.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    with _quiet_transformers():
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=getattr(torch, dtype), num_labels=1)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model


def lora_config(lora: LoraSection, task: Literal["CAUSAL_LM", "SEQ_CLS"]) -> Any:
    """Return peft's configuration of an adapter; for `SEQ_CLS`, peft also trains and saves the classifier's output."""
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.targets, task_type=task
    )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Drop the warnings about a new output and an unused head, both of which are intended."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def check_lengths(groups: Sequence[Group], model: Any) -> None:
    """Refuse groups with a candidate longer than a layer's sliding window.

    Raises:
        WorkError: with the pairs of the longest group.
    """
    from rlaif.training.kernels.attention import longest_context

    window = longest_context(model.config)
    if window is None or not groups:
        return
    longest = max(groups, key=_tokens_seen)
    if _tokens_seen(longest) > window:
        ids = ", ".join(pair.id for pair in longest.pairs)
        raise WorkError(
            f"a prompt with its answer has {_tokens_seen(longest)} tokens, and the model attends to {window} at a "
            f"time; its pairs: {ids}"
        )


def _tokens_seen(group: Group) -> int:
    return len(group.prompt_token_ids) + max(map(len, group.candidates), default=0)


def save_model(folder: Path, tokenizer: Any, out: str) -> tuple[dict[str, str], str]:
    """Complete a folder that a trainer has saved its model to, and copy it to a path or URL.

    Returns:
        sha256 of each file, and of the weights.
    """
    tokenizer.save_pretrained(folder)
    for name in _LEFT_OUT:
        (folder / name).unlink(missing_ok=True)
    put_folder(str(folder), out)
    files = {path.name: file_sha256(str(path)) for path in sorted(folder.iterdir()) if path.is_file()}
    return files, weights_id(str(folder))
