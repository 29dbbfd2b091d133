"""Texts of preferences are encoded to the token ids that TRL's own encoding gives."""

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from rlaif.data.preferences import Preference, Text
from rlaif.errors import UserError
from rlaif.training.dpo.encode import encode_preferences
from tests.tiny import NoReferenceDPOTrainer, arguments, tiny_llama

QUESTIONS = ["What was revenue in 2023?", "Was the margin 12%?", "Wie hoch war der Gewinn?"]
ANSWERS = [("$4.2 million", "I do not know."), ("Yes.", "No, it was 11%."), ("3 Mio. €", "3 €")]


def chat(question: str, answers: tuple[str, str]) -> dict[str, Any]:
    chosen, rejected = ([{"role": "assistant", "content": answer}] for answer in answers)
    return {"prompt": [{"role": "user", "content": question}], "chosen": chosen, "rejected": rejected}


def plain(question: str, answers: tuple[str, str]) -> dict[str, Any]:
    return {"prompt": question + "\n", "chosen": answers[0], "rejected": answers[1]}


def preference(row: dict[str, Text]) -> Preference:
    return Preference("x", row["prompt"], row["chosen"], row["rejected"], None, "ai", None, None)


@pytest.mark.parametrize("form", [chat, plain])
def test_encodes_as_trl_does(form: Any, model_folder: str, tmp_path: Path) -> None:
    rows = [form(question, answers) for question, answers in zip(QUESTIONS, ANSWERS, strict=True)]
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    trainer = NoReferenceDPOTrainer(
        tiny_llama(), args=arguments(tmp_path), train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )  # fmt: skip
    encoded = encode_preferences([preference(row) for row in rows], tokenizer, None, "p").rows
    for ours, theirs in zip(encoded, trainer.train_dataset, strict=True):
        for name in ("prompt", "chosen", "rejected"):
            assert ours[f"{name}_token_ids"] == theirs[f"{name}_ids"]


def test_a_prompt_without_tokens_is_refused(model_folder: str) -> None:
    """Nothing would predict the first token of its answers."""
    row = Preference("pairs.jsonl:3", "x", "a", "b", None, "ai", None, None)
    with pytest.raises(UserError, match=r"^pairs.jsonl:3: prompt: .* got 'x'$"):
        encode_preferences([row], AutoTokenizer.from_pretrained(model_folder), None, "p")
