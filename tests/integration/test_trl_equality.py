"""Loss and gradients equal TRL's for every loss and any groups, with and without an adapter."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from rlaif.training.dpo.trainer import GroupDPOTrainer, LossName
from rlaif.training.groups import Group, Pair, plan_training
from tests.tiny import TokenDPOTrainer, arguments, tiny_llama, tiny_tokenizer, trl_rows

LOSSES: list[LossName] = ["sigmoid", "sigmoid_norm", "ipo", "hinge", "robust"]

tokens = st.integers(3, 96)


@st.composite
def groups_of(draw: st.DrawFn) -> list[Group]:
    """One to four prompts, each with two to five candidates and any pairs among them, references near it."""
    groups = []
    for number in range(draw(st.integers(1, 4))):
        prompt = tuple(draw(st.lists(tokens, min_size=1, max_size=20)))
        candidates = draw(
            st.lists(st.lists(tokens, min_size=1, max_size=9).map(tuple), min_size=2, max_size=5, unique=True)
        )
        every = [(a, b) for a in range(len(candidates)) for b in range(len(candidates)) if a != b]
        chosen = draw(st.lists(st.sampled_from(every), min_size=1, max_size=6, unique=True))
        logps = [-5.0 * len(candidate) + draw(st.floats(-2, 2, width=32)) for candidate in candidates]
        pairs = tuple(Pair(f"{number}-{a}-{b}", a, b, logps[a], logps[b]) for a, b in chosen)
        groups.append(Group(prompt, tuple(candidates), pairs))
    return groups


def model_with(adapter: bool) -> Any:
    model = tiny_llama()
    if not adapter:
        return model
    torch.manual_seed(1)
    # peft initializes with zeros, at which half of the gradients vanish.
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    return get_peft_model(model, config)


def trl_step(groups: list[Group], loss: LossName, adapter: bool, folder: Path) -> tuple[float, dict[str, torch.Tensor]]:
    """All pairs as one batch of TRL's stock trainer."""
    rows = Dataset.from_list(trl_rows(groups))
    args = arguments(folder, loss_type=[loss], label_smoothing=0.1 if loss == "robust" else 0.0, beta=0.3)
    trainer = TokenDPOTrainer(model_with(adapter), args=args, train_dataset=rows, processing_class=tiny_tokenizer())
    batch = trainer.data_collator(list(rows))
    value = trainer._compute_loss(trainer.model, batch, False)
    value.backward()
    return value.item(), gradients(trainer.model)


def our_step(
    groups: list[Group], loss: LossName, adapter: bool, folder: Path, **changes: Any
) -> tuple[float, dict[str, torch.Tensor]]:
    """All groups as one optimizer step, in packs of at most 60 tokens."""
    plan = plan_training(groups, epochs=1, groups_per_step=len(groups), max_tokens=60, workers=1, seed=0)
    assert plan.steps == 1
    smoothing = 0.1 if loss == "robust" else 0.0
    trainer = GroupDPOTrainer(
        model_with(adapter),
        args=arguments(folder, gradient_accumulation_steps=plan.accumulation),
        processing_class=tiny_tokenizer(),
        groups=groups,
        plan=plan,
        loss=loss,
        beta=0.3,
        **{"label_smoothing": smoothing, **changes},
    )
    total = 0.0
    for pack in range(len(plan.packs)):
        value = trainer.compute_loss(trainer.model, trainer.data_collator([{"pack": pack}])) / plan.accumulation
        value.backward()
        total += value.item()
    return total, gradients(trainer.model)


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None and ".ref." not in name}


def assert_same(ours: tuple[float, dict[str, torch.Tensor]], theirs: tuple[float, dict[str, torch.Tensor]]) -> None:
    assert ours[0] == pytest.approx(theirs[0], rel=1e-4, abs=1e-6)
    assert ours[1].keys() == theirs[1].keys()
    # A gradient that is nothing is rounding in both: of queries with one key to look at, and of all weights where
    # pairs cancel out (a over b, and b over a). One pair alone has norms from 1 to 40 here.
    least = max(0.5, 1e-2 * max(gradient.norm().item() for gradient in theirs[1].values()))
    for name, gradient in theirs[1].items():
        scale = max(gradient.norm().item(), least)
        assert (ours[1][name] - gradient).norm().item() <= 1e-4 * scale, name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trainer")


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("loss", LOSSES)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=groups_of())
def test_loss_and_gradients_are_those_of_trl(groups: list[Group], loss: LossName, adapter: bool, folder: Path) -> None:
    assert_same(our_step(groups, loss, adapter, folder), trl_step(groups, loss, adapter, folder))


def test_smoothed_sigmoid_is_the_mixture_of_both_labels(folder: Path) -> None:
    """Conservative DPO is TRL's own sigmoid on the pairs and on the pairs turned around, weighed 0.8 to 0.2."""
    right = [Group((5, 6, 7), ((8, 9), (10,)), (Pair("a", 0, 1, -9.0, -5.0),))]
    wrong = [Group((5, 6, 7), ((8, 9), (10,)), (Pair("a", 1, 0, -5.0, -9.0),))]
    loss, grads = our_step(right, "sigmoid", False, folder, label_smoothing=0.2)
    (one, of_one), (two, of_two) = trl_step(right, "sigmoid", False, folder), trl_step(wrong, "sigmoid", False, folder)
    assert_same(
        (loss, grads), (0.8 * one + 0.2 * two, {name: 0.8 * of_one[name] + 0.2 * of_two[name] for name in of_one})
    )


def test_a_weight_of_two_equals_a_pair_that_occurs_twice(folder: Path) -> None:
    pairs = (Pair("a", 0, 1, -9.0, -5.0, weight=2.0), Pair("b", 0, 2, -9.0, -4.0))
    weighed = [Group((5, 6, 7), ((8, 9), (10,), (11,)), pairs)]
    twice = [Group((5, 6, 7), ((8, 9), (10,), (11,)), (pairs[0], pairs[0], pairs[1]))]
    assert_same(our_step(weighed, "sigmoid", False, folder), trl_step(twice, "sigmoid", False, folder))
