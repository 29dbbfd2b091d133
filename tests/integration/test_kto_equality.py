"""The loss and the gradients of ratings equal TRL's `KTOTrainer`, whatever the packs."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import TrainingArguments
from trl import KTOConfig, KTOTrainer

from rlaif.recipe import KtoSection
from rlaif.training.groups import PackPlan
from rlaif.training.kernels.attention import Attention, set_attention
from rlaif.training.kto.groups import RatedGroup, group_ratings, plan_ratings, read_groups, with_references
from rlaif.training.kto.trainer import GroupKTOTrainer
from tests.integration.test_trl_equality import assert_same, gradients, model_with
from tests.tiny import LONGEST, tiny_tokenizer

tokens = st.integers(3, 96)
SHARED = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": [], "save_strategy": "no"}
KTO = KtoSection(beta=0.3, desirable_weight=1.2, undesirable_weight=0.7, ratings_per_step=100, max_tokens_per_pack=64)


@st.composite
def groups_of(draw: st.DrawFn, most: int) -> list[RatedGroup]:
    """Two to five prompts, each with one to `most` rated answers."""
    prompts = draw(st.lists(st.lists(tokens, min_size=1, max_size=20).map(tuple), min_size=2, max_size=5, unique=True))
    rows = []
    for prompt in prompts:
        answers = st.lists(st.lists(tokens, min_size=1, max_size=9).map(tuple), min_size=1, max_size=most, unique=True)
        for answer in draw(answers):
            rows.append(
                {
                    "rating_id": str(len(rows)), "prompt_token_ids": prompt, "token_ids": answer,
                    "desirable": draw(st.booleans()), "source": "human",
                }
            )  # fmt: skip
    return group_ratings(rows)


def planned(groups: list[RatedGroup], seed: int, lower: float = 0.0) -> tuple[list[RatedGroup], PackPlan]:
    """All groups as one step, with references near those of the model, or lower by so many nats."""
    found, plan = plan_ratings(groups, KTO, context=LONGEST, workers=1, seed=seed)
    assert plan.steps == 1
    draw = random.Random(seed)
    read = read_groups(found)
    logps = [[-5.0 * len(each) + draw.uniform(-6, 2) - lower for each in group.candidates] for group in read]
    return with_references(found, read, logps), plan


def trl_step(groups: list[RatedGroup], adapter: bool, folder: Path) -> tuple[float, dict[str, torch.Tensor], float]:
    """All ratings as one padded batch of TRL's stock trainer, with its reference point."""
    rows, mismatched = [], []
    for group in groups:
        assert group.mismatched is not None
        for index, answer in enumerate(group.candidates):
            rows.append(
                {
                    "prompt_ids": list(group.prompt_token_ids), "completion_ids": list(answer),
                    "label": group.desirable[index], "ref_logps": group.ref_logps[index],
                }
            )  # fmt: skip
            other = group.mismatched.group.prompt_token_ids
            mismatched.append({**rows[-1], "prompt_ids": list(other), "ref_logps": group.mismatched.ref_logps[index]})
    args = KTOConfig(
        output_dir=str(folder), max_length=None, precompute_ref_log_probs=True, beta=KTO.beta,
        desirable_weight=KTO.desirable_weight, undesirable_weight=KTO.undesirable_weight,
        per_device_train_batch_size=max(2, len(rows)), **SHARED,
    )  # fmt: skip
    trainer = TokenKTOTrainer(
        model_with(adapter), args=args, train_dataset=Dataset.from_list(rows), processing_class=tiny_tokenizer()
    )
    batch, other = trainer.data_collator(rows), trainer.data_collator(mismatched)
    # TRL's own pairs have one answer a prompt; here a prompt may be read with all answers to another.
    batch |= {f"KL_{name}": other[name] for name in ("input_ids", "attention_mask", "completion_mask")}
    batch["ref_KL_logps"] = other["ref_logps"]
    value = trainer._compute_loss(trainer.model, batch, False)
    value.backward()
    return value.item(), gradients(trainer.model), trainer._metrics["train"]["kl"][-1]


class TokenKTOTrainer(KTOTrainer):  # type: ignore[misc]
    """TRL's trainer on encoded rows that have their reference log-probabilities."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset


def our_step(
    groups: list[RatedGroup], plan: PackPlan, adapter: bool, folder: Path, *, alone: bool = False
) -> tuple[float, dict[str, torch.Tensor], float]:
    """All groups as one optimizer step."""
    args = TrainingArguments(
        str(folder), remove_unused_columns=False, gradient_accumulation_steps=plan.accumulation, **SHARED
    )
    model = model_with(adapter)
    if alone:
        set_attention(model, Attention("alone", implementation="sdpa"))
    trainer = GroupKTOTrainer(
        model, args=args, processing_class=tiny_tokenizer(), groups=groups, plan=plan, beta=KTO.beta,
        max_tokens=KTO.max_tokens_per_pack, desirable_weight=KTO.desirable_weight,
        undesirable_weight=KTO.undesirable_weight,
    )  # fmt: skip
    packs = [trainer.data_collator([{"pack": pack}]) for pack in range(len(plan.packs))]
    trainer.before_step([pack["batch"] for pack in packs])
    total = 0.0
    for pack in packs:
        value = trainer.compute_loss(trainer.model, pack) / plan.accumulation
        value.backward()
        total += value.item()
    return total, gradients(trainer.model), trainer.reference_point


def check(ours: tuple[float, dict[str, torch.Tensor], float], theirs: Any) -> None:
    assert ours[2] == pytest.approx(theirs[2], rel=1e-4, abs=1e-4)
    assert_same(ours[:2], theirs[:2])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kto")


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=groups_of(most=4), seed=st.integers(0, 9))
def test_loss_and_gradients_are_those_of_trl(groups: list[RatedGroup], seed: int, adapter: bool, folder: Path) -> None:
    found, plan = planned(groups, seed)
    check(our_step(found, plan, adapter, folder), trl_step(found, adapter, folder))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=groups_of(most=1), seed=st.integers(0, 9))
def test_mismatched_answers_are_those_of_trl_where_each_prompt_has_one(groups: list[RatedGroup], seed: int) -> None:
    """TRL reads, after each prompt of a batch, the answer of the row before it."""
    found, _ = planned(groups, seed)
    ours = {(each.mismatched.group.prompt_token_ids, each.candidates[0]) for each in found if each.mismatched}
    prompts, answers = [each.prompt_token_ids for each in found], [each.candidates[0] for each in found]
    assert ours == set(zip(prompts, [answers[-1], *answers[:-1]], strict=True))


def test_unpacked_gives_the_same(folder: Path) -> None:
    rows = [
        {"rating_id": str(i), "prompt_token_ids": (5, 6, 7 + i // 2), "token_ids": (8 + i, 9, 10), "desirable": i != 2,
         "source": "human"}
        for i in range(5)
    ]  # fmt: skip
    groups, plan = planned(group_ratings(rows), 0, lower=10.0)
    unpacked = [replace(group, packed=False) for group in groups]
    theirs = trl_step(groups, False, folder)
    check(our_step(unpacked, plan, False, folder, alone=True), theirs)
    assert theirs[2] > 0


def test_a_persons_rating_counts_by_its_weight(folder: Path) -> None:
    """Beside ratings of judges, and over the mean weight: the loss is (w a + b) / (w + 1)."""
    rows = [
        {"rating_id": "a", "prompt_token_ids": (5, 6), "token_ids": (8, 9), "desirable": True, "source": "human"},
        {"rating_id": "b", "prompt_token_ids": (5, 7), "token_ids": (10,), "desirable": False, "source": "ai"},
    ]
    one, two, four = (
        our_step(*planned(group_ratings(rows, human_weight=weight), 0), False, folder)[0] for weight in (1.0, 2.0, 4.0)
    )
    first = 3 * two - 2 * one
    assert four == pytest.approx((4 * first + 2 * one - first) / 5, rel=1e-5)
    assert two != pytest.approx(one, rel=1e-3)
