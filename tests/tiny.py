"""A language model small enough for a unit test, and TRL's own trainer on token ids."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

from rlaif.training.groups import Group

VOCABULARY = 97
LONGEST = 128


def tiny_llama(seed: int = 0) -> Any:
    """Two layers with grouped-query attention, random weights, made as `load_model` makes its models."""
    from rlaif.training.kernels.answer_head import add_answer_head
    from rlaif.training.kernels.attention import Attention, set_attention

    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=LONGEST,
            # Larger than usual, so that log-probabilities of answers differ by nats and not by rounding.
            initializer_range=0.3,
        )
    )
    set_attention(model, Attention("groups"))
    add_answer_head(model)
    return model


def tiny_tokenizer() -> Any:
    """A tokenizer that no test encodes with; TRL asks for one."""
    words = {f"<{number}>": number for number in range(VOCABULARY)}
    inner = Tokenizer(models.WordLevel(words, unk_token="<0>"))
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<1>", pad_token="<2>")


def save_chat_model(folder: Path | str, words: Sequence[str], **changes: Any) -> str:
    """Write a two-layer language model with a tokenizer of whole words and a chat template, and return its folder.

    `changes` are of its configuration.
    """
    from tokenizers import pre_tokenizers

    names = ["<pad>", "<unk>", "<end>", "user", "assistant", "system", *words]
    inner = Tokenizer(models.WordLevel({word: index for index, word in enumerate(names)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>", pad_token="<pad>")
    tokenizer.chat_template = "{% for message in messages %}{{ message.role }} {{ message.content }} <end> {% endfor %}"
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "vocab_size": len(names), "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": LONGEST, "pad_token_id": None, "bos_token_id": None,
        "eos_token_id": 2,
    }  # fmt: skip
    LlamaForCausalLM(LlamaConfig(**settings | changes)).save_pretrained(folder)
    return str(folder)


class NoReferenceDPOTrainer(DPOTrainer):  # type: ignore[misc]
    """TRL's trainer without its reference pass."""

    def _precompute_ref_logps(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset


class TokenDPOTrainer(NoReferenceDPOTrainer):
    """TRL's trainer on encoded rows that have their reference log-probabilities."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset


def trl_rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return the pairs as TRL's collator takes them, references included."""
    return [
        {
            "prompt_ids": list(group.prompt_token_ids),
            "chosen_ids": list(group.candidates[pair.chosen]),
            "rejected_ids": list(group.candidates[pair.rejected]),
            "ref_chosen_logps": pair.ref_chosen_logp,
            "ref_rejected_logps": pair.ref_rejected_logp,
        }
        for group in groups
        for pair in group.pairs
    ]


def arguments(folder: Path | str, **changes: Any) -> DPOConfig:
    """Return settings for one process on a CPU."""
    settings: dict[str, Any] = {
        "output_dir": str(folder), "use_cpu": True, "bf16": False, "gradient_checkpointing": False,
        "precompute_ref_log_probs": True, "max_length": None, "report_to": [], "disable_tqdm": True,
        "save_strategy": "no", "num_train_epochs": 1, "per_device_train_batch_size": 1, "seed": 0,
        "learning_rate": 1e-3, "logging_steps": 1,
    }  # fmt: skip
    return DPOConfig(**{**settings, **changes})
