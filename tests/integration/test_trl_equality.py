"""Loss and gradients equal TRL's for every loss and any groups, with and without an adapter."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from trl.experimental.cpo import CPOConfig, CPOTrainer

from rlaif.recipe import TrainingSection
from rlaif.training.dpo.trainer import GroupDPOTrainer
from rlaif.training.groups import Group, Pair, plan_training, with_reference
from tests.tiny import TokenDPOTrainer, arguments, tiny_llama, tiny_tokenizer, trl_rows

LOSSES = {
    "sigmoid": TrainingSection(beta=0.3),
    "sigmoid_norm": TrainingSection(loss="sigmoid_norm", beta=0.3),
    "ipo": TrainingSection(loss="ipo", beta=0.3),
    "hinge": TrainingSection(loss="hinge", beta=0.3),
    "robust": TrainingSection(loss="robust", label_smoothing=0.1, beta=0.3),
    "ld": TrainingSection(ld_alpha=0.4, beta=0.3),
    "ld-hinge": TrainingSection(loss="hinge", ld_alpha=0.0, beta=0.3),
}
SIMPO = TrainingSection(loss="simpo", beta=2.0, simpo_gamma=0.8)

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


def trl_step(
    groups: list[Group], settings: TrainingSection, adapter: bool, folder: Path
) -> tuple[float, dict[str, torch.Tensor]]:
    """All pairs as one batch of TRL's stock trainer."""
    rows = Dataset.from_list(trl_rows(groups))
    args = arguments(
        folder,
        loss_type=[settings.loss],
        label_smoothing=settings.label_smoothing,
        beta=settings.beta,
        ld_alpha=settings.ld_alpha,
    )
    trainer = TokenDPOTrainer(model_with(adapter), args=args, train_dataset=rows, processing_class=tiny_tokenizer())
    batch = trainer.data_collator(list(rows))
    value = trainer._compute_loss(trainer.model, batch, False)
    value.backward()
    return value.item(), gradients(trainer.model)


class TokenCPOTrainer(CPOTrainer):  # type: ignore[misc]
    """TRL's trainer on encoded rows."""

    def tokenize_row(self, feature: dict[str, Any], model: Any = None) -> dict[str, Any]:
        return feature


def trl_simpo_step(groups: list[Group], adapter: bool, folder: Path) -> tuple[float, dict[str, torch.Tensor]]:
    """All pairs as one padded batch of TRL's stock trainer of SimPO."""
    rows = []
    for row in trl_rows(groups):
        encoded = {"prompt": "", "chosen": "", "rejected": ""}
        for side in ("chosen", "rejected"):
            ids = row["prompt_ids"] + row[f"{side}_ids"]
            encoded[f"{side}_input_ids"], encoded[f"{side}_attention_mask"] = ids, [1] * len(ids)
            encoded[f"{side}_labels"] = [-100] * len(row["prompt_ids"]) + row[f"{side}_ids"]
        rows.append(encoded)
    args = CPOConfig(
        output_dir=str(folder), loss_type="simpo", cpo_alpha=0.0, beta=SIMPO.beta, simpo_gamma=SIMPO.simpo_gamma,
        use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[], remove_unused_columns=False,
    )  # fmt: skip
    data = Dataset.from_list(rows)
    trainer = TokenCPOTrainer(model_with(adapter), args=args, train_dataset=data, processing_class=tiny_tokenizer())
    value = trainer.compute_loss(trainer.model, trainer.data_collator(list(data)))
    value.backward()
    return value.item(), gradients(trainer.model)


def our_step(
    groups: list[Group], settings: TrainingSection, adapter: bool, folder: Path
) -> tuple[float, dict[str, torch.Tensor]]:
    """All groups as one optimizer step, in packs of at most 60 tokens."""
    plan = plan_training(groups, epochs=1, groups_per_step=len(groups), max_tokens=60, workers=1, seed=0)
    assert plan.steps == 1
    trainer = GroupDPOTrainer(
        model_with(adapter),
        args=arguments(folder, gradient_accumulation_steps=plan.accumulation),
        processing_class=tiny_tokenizer(),
        groups=groups,
        plan=plan,
        settings=settings,
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
def test_loss_and_gradients_are_those_of_trl(groups: list[Group], loss: str, adapter: bool, folder: Path) -> None:
    settings = LOSSES[loss]
    assert_same(our_step(groups, settings, adapter, folder), trl_step(groups, settings, adapter, folder))


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=groups_of())
def test_simpo_is_that_of_trl_and_has_no_reference(groups: list[Group], adapter: bool, folder: Path) -> None:
    without = [with_reference(group, [math.nan] * len(group.candidates)) for group in groups]
    assert_same(our_step(without, SIMPO, adapter, folder), trl_simpo_step(groups, adapter, folder))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=groups_of())
def test_a_length_penalty_is_a_reference_policy_with_longer_answers_less_likely(
    groups: list[Group], folder: Path
) -> None:
    """R-DPO's margin is TRL's with alpha / beta nats less for each token under the reference policy."""
    shifted = [
        replace(
            group,
            pairs=tuple(
                replace(
                    pair,
                    ref_chosen_logp=pair.ref_chosen_logp - 0.06 / 0.3 * len(group.candidates[pair.chosen]),
                    ref_rejected_logp=pair.ref_rejected_logp - 0.06 / 0.3 * len(group.candidates[pair.rejected]),
                )
                for pair in group.pairs
            ),
        )
        for group in groups
    ]
    penalized = TrainingSection(beta=0.3, length_penalty=0.06)
    assert_same(our_step(groups, penalized, False, folder), trl_step(shifted, LOSSES["sigmoid"], False, folder))


def test_smoothed_sigmoid_is_the_mixture_of_both_labels(folder: Path) -> None:
    """Conservative DPO is TRL's own sigmoid on the pairs and on the pairs turned around, weighed 0.8 to 0.2."""
    right = [Group((5, 6, 7), ((8, 9), (10,)), (Pair("a", 0, 1, -9.0, -5.0),))]
    wrong = [Group((5, 6, 7), ((8, 9), (10,)), (Pair("a", 1, 0, -5.0, -9.0),))]
    loss, grads = our_step(right, TrainingSection(beta=0.3, label_smoothing=0.2), False, folder)
    plain = LOSSES["sigmoid"]
    (one, of_one), (two, of_two) = trl_step(right, plain, False, folder), trl_step(wrong, plain, False, folder)
    assert_same(
        (loss, grads), (0.8 * one + 0.2 * two, {name: 0.8 * of_one[name] + 0.2 * of_two[name] for name in of_one})
    )


def test_a_weight_of_two_equals_a_pair_that_occurs_twice(folder: Path) -> None:
    pairs = (Pair("a", 0, 1, -9.0, -5.0, weight=2.0), Pair("b", 0, 2, -9.0, -4.0))
    weighed = [Group((5, 6, 7), ((8, 9), (10,), (11,)), pairs)]
    twice = [Group((5, 6, 7), ((8, 9), (10,), (11,)), (pairs[0], pairs[0], pairs[1]))]
    plain = LOSSES["sigmoid"]
    assert_same(our_step(weighed, plain, False, folder), trl_step(twice, plain, False, folder))
