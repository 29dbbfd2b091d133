"""The loss and the gradients of demonstrations equal TRL's `SFTTrainer`, grouped by their beginnings or not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import TrainingArguments
from trl import SFTConfig, SFTTrainer

from rlaif.training.common_beginnings import group_by_beginning
from rlaif.training.groups import plan_packs
from rlaif.training.kernels.attention import Attention, set_attention
from rlaif.training.sft.encode import LearnedSequence
from rlaif.training.sft.trainer import GroupSFTTrainer
from tests.integration.test_trl_equality import assert_same, gradients, model_with
from tests.tiny import LONGEST, tiny_tokenizer

tokens = st.lists(st.integers(3, 96), min_size=1, max_size=12)
SHARED = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": [], "save_strategy": "no"}


@st.composite
def sequences_of(draw: st.DrawFn) -> list[LearnedSequence]:
    """One to six conversations of one to three turns, some on the same beginning."""
    beginnings = draw(st.lists(tokens, min_size=1, max_size=2))
    found = []
    for number in range(draw(st.integers(1, 6))):
        ids = list(draw(st.sampled_from(beginnings)))
        spans = []
        for _ in range(draw(st.integers(1, 3))):
            ids += draw(tokens)[: draw(st.integers(0, 6))]
            start = len(ids)
            ids += draw(tokens)
            spans.append((start, len(ids)))
        found.append(LearnedSequence(str(number), tuple(ids), tuple(spans)))
    return found


def trl_step(sequences: list[LearnedSequence], adapter: bool, folder: Path) -> tuple[float, dict[str, torch.Tensor]]:
    """All conversations as one padded batch of TRL's stock trainer."""
    rows = [
        {
            "input_ids": list(each.token_ids),
            "completion_mask": [int(any(a <= i < b for a, b in each.learned)) for i in range(len(each.token_ids))],
        }
        for each in sequences
    ]
    args = SFTConfig(output_dir=str(folder), max_length=LONGEST, completion_only_loss=True, loss_type="nll", **SHARED)
    data = Dataset.from_list(rows)
    trainer = SFTTrainer(model_with(adapter), args=args, train_dataset=data, processing_class=tiny_tokenizer())
    batch = trainer.data_collator(list(trainer.train_dataset))
    value = trainer.compute_loss(trainer.model, batch, num_items_in_batch=(batch["labels"][:, 1:] != -100).sum())
    value.backward()
    return value.item(), gradients(trainer.model)


def our_step(
    sequences: list[LearnedSequence],
    adapter: bool,
    folder: Path,
    prepare: Callable[[Any], None] = lambda model: None,
    most: int = 4,
) -> tuple[float, dict[str, torch.Tensor]]:
    """All conversations as one optimizer step, in packs of at most 60 tokens."""
    groups = group_by_beginning(sequences, most=most, max_tokens=60)
    tokens = float(sum(group.counted_tokens for group in groups))
    plan = plan_packs(groups, [list(range(len(groups)))], [tokens], max_tokens=60, workers=1)
    args = TrainingArguments(
        str(folder), remove_unused_columns=False, gradient_accumulation_steps=plan.accumulation, **SHARED
    )
    model = model_with(adapter)
    prepare(model)
    trainer = GroupSFTTrainer(model, args=args, processing_class=tiny_tokenizer(), groups=groups, plan=plan)
    total = 0.0
    for pack in range(len(plan.packs)):
        value = trainer.compute_loss(trainer.model, trainer.data_collator([{"pack": pack}])) / plan.accumulation
        value.backward()
        total += value.item()
    return total, gradients(trainer.model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sft")


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequences=sequences_of(), most=st.integers(1, 6))
def test_loss_and_gradients_are_those_of_trl(
    sequences: list[LearnedSequence], most: int, adapter: bool, folder: Path
) -> None:
    assert_same(our_step(sequences, adapter, folder, most=most), trl_step(sequences, adapter, folder))


def test_unpacked_gives_the_same(folder: Path) -> None:
    first, second = (5, 6, 7, 8, 9, 10, 11), (5, 6, 7, 8, 12, 13)
    sequences = [LearnedSequence("a", first, ((5, 7),)), LearnedSequence("b", second, ((4, 5), (5, 6)))]

    def alone(model: Any) -> None:
        set_attention(model, Attention("alone", implementation="sdpa"))

    assert_same(our_step(sequences, False, folder, alone), trl_step(sequences, False, folder))
