"""Loss and gradients of GRPO, its corrections and RLOO equal TRL's for any groups, with and without an adapter."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from transformers import TrainingArguments
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from rlaif.recipe import GrpoSection, PolicyGradientSection, RlooSection
from rlaif.training.groups import plan_packs
from rlaif.training.kernels.attention import Attention, set_attention
from rlaif.training.policy_gradient.returns import with_advantages
from rlaif.training.policy_gradient.rollouts import RolloutGroup
from rlaif.training.policy_gradient.trainer import GroupGRPOTrainer, GroupRLOOTrainer, step_weights
from tests.integration.test_trl_equality import assert_same, gradients, model_with
from tests.tiny import tiny_tokenizer

SHARED = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": [], "save_strategy": "no"}
# Ours, and TRL's of the same name.
GRPO: dict[str, tuple[GrpoSection, dict[str, Any]]] = {
    "grpo": (GrpoSection(scale="std", average="answers", clip_high=0.2), {"loss_type": "grpo"}),
    "grpo with kl": (
        GrpoSection(scale="std", average="answers", clip_high=0.2, kl=0.05),
        {"loss_type": "grpo", "beta": 0.05, "use_bias_correction_kl": False},
    ),
    "dapo": (GrpoSection(), {"loss_type": "dapo", "epsilon_high": 0.28}),
    "dr_grpo": (
        GrpoSection(average="constant", answer_tokens=9, clip_high=0.2),
        {"loss_type": "dr_grpo", "max_completion_length": 9},
    ),
    "cispo": (GrpoSection(clip="cispo", clip_high=0.1), {"loss_type": "cispo", "epsilon_high": 1.1}),
    "gspo": (
        GrpoSection(ratio="sequence", average="answers", clip_low=0.03, clip_high=0.04),
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.03, "epsilon_high": 0.04},
    ),
    "dapo with importance": (GrpoSection(max_importance=1.05), {"loss_type": "dapo", "epsilon_high": 0.28}),
}
RLOO = RlooSection(kl=0.05)

# A failing case takes minutes to shrink.
FEW = settings(
    max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip

tokens = st.lists(st.integers(3, 96), min_size=1, max_size=9).map(tuple)
near = st.floats(-0.25, 0.25, width=32)


@st.composite
def rollouts_of(draw: st.DrawFn) -> list[RolloutGroup]:
    """One to three prompts with two to four answers, with log-probabilities near the policy's."""
    found = []
    for number in range(draw(st.integers(1, 3))):
        candidates = tuple(draw(st.lists(tokens, min_size=2, max_size=4)))
        count = sum(map(len, candidates))
        # What the policy gives is added once it is known.
        old, sampled, reference = (draw(st.lists(near, min_size=count, max_size=count)) for _ in range(3))
        rewards = draw(st.lists(st.floats(0, 1, width=16), min_size=len(candidates), max_size=len(candidates)))
        group = RolloutGroup(
            prompt_token_ids=draw(tokens), candidates=candidates, pairs=(),
            ids=tuple(f"{number}-{index}" for index in range(len(candidates))),
            rewards_C=np.array(rewards, np.float32), sampled_A=np.array(sampled, np.float32),
            old_A=np.array(old, np.float32), reference_A=np.array(reference, np.float32),
        )  # fmt: skip
        found.append(_around_the_policy(group))
    return found


def _around_the_policy(group: RolloutGroup) -> RolloutGroup:
    """Add the policy's own log-probabilities to the distances of a group."""
    model = model_with(False)
    own: list[torch.Tensor] = []
    for candidate in group.candidates:
        ids_1T = torch.tensor([[*group.prompt_token_ids, *candidate]])
        with torch.no_grad():
            logits_AV = model(input_ids=ids_1T).logits[0, len(group.prompt_token_ids) - 1 : -1]
        own.append(logits_AV.log_softmax(-1).gather(1, torch.tensor(candidate)[:, None])[:, 0])
    policy_A = torch.cat(own).numpy()
    old_A = policy_A + group.old_A
    return replace(group, old_A=old_A, sampled_A=old_A + group.sampled_A, reference_A=policy_A + group.reference_A)


def our_step(
    groups: list[RolloutGroup],
    section: PolicyGradientSection,
    adapter: bool,
    folder: Path,
    prepare: Callable[[Any], None] = lambda model: None,
) -> tuple[float, dict[str, torch.Tensor]]:
    """All groups as one optimizer step, in packs of at most 40 tokens."""
    groups = with_advantages(groups, section)
    step = list(range(len(groups)))
    plan = plan_packs(groups, [step], step_weights(groups, [step], section), max_tokens=40, workers=1)
    args = TrainingArguments(
        str(folder), remove_unused_columns=False, gradient_accumulation_steps=plan.accumulation, **SHARED
    )
    model = model_with(adapter)
    prepare(model)
    kind = GroupRLOOTrainer if isinstance(section, RlooSection) else GroupGRPOTrainer
    trainer = kind(model, args=args, processing_class=tiny_tokenizer(), groups=groups, plan=plan, section=section)
    total = 0.0
    for pack in range(len(plan.packs)):
        value = trainer.compute_loss(trainer.model, trainer.data_collator([{"pack": pack}])) / plan.accumulation
        value.backward()
        total += value.item()
    return total, gradients(trainer.model)


def trl_step(
    groups: list[RolloutGroup],
    options: dict[str, Any],
    adapter: bool,
    folder: Path,
    *,
    cap: float | None = None,
    rloo: bool = False,
) -> tuple[float, dict[str, torch.Tensor]]:
    """All answers as one padded batch of TRL's stock trainer."""
    # With a `beta` it would load the reference policy, whose log-probabilities are given.
    shared = {"output_dir": str(folder), "max_completion_length": 9, **SHARED, **options, "beta": 0.0}
    args = RLOOConfig(**shared) if rloo else GRPOConfig(**shared)
    data = Dataset.from_list([{"prompt": "<5>"}])
    model = model_with(adapter)
    model.set_attn_implementation("sdpa")  # Ours knows no padding on the left.
    trainer = (RLOOTrainer if rloo else GRPOTrainer)(
        model, reward_funcs=lambda completions, **_: [0.0] * len(completions), args=args,
        train_dataset=data, processing_class=tiny_tokenizer(),
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    trainer.args.steps_per_generation = 1
    trainer.use_vllm = trainer.vllm_importance_sampling_correction = cap is not None
    trainer.beta = options.get("beta", 0.0)
    trainer.model.train()
    value = trainer._compute_loss(trainer.model, padded(groups, cap))
    value.backward()
    return value.item(), gradients(trainer.model)


def padded(groups: list[RolloutGroup], cap: float | None) -> dict[str, torch.Tensor]:
    """The batch that TRL would make of the groups: prompts padded on the left, answers on the right."""
    answers = [(group.prompt_token_ids, each) for group in groups for each in group.candidates]
    prompt, answer = max(len(ids) for ids, _ in answers), max(len(ids) for _, ids in answers)

    def right(name: str) -> torch.Tensor:
        parts = [part for group in groups for part in group.by_answer(getattr(group, name))]
        return torch.stack([torch.from_numpy(np.pad(part, (0, answer - len(part)))) for part in parts])

    old, sampled = right("old_A"), right("sampled_A")
    mask = torch.tensor([[1] * len(ids) + [0] * (answer - len(ids)) for _, ids in answers])
    advantages = torch.cat([torch.tensor([part[0] for part in g.by_answer(g.advantages_A)]) for g in groups])
    return {
        "prompt_ids": torch.tensor([[2] * (prompt - len(ids)) + list(ids) for ids, _ in answers]),
        "prompt_mask": torch.tensor([[0] * (prompt - len(ids)) + [1] * len(ids) for ids, _ in answers]),
        "completion_ids": torch.tensor([list(ids) + [2] * (answer - len(ids)) for _, ids in answers]),
        "completion_mask": mask,
        "advantages": advantages,
        "old_per_token_logps": old,
        "old_logps": (old * mask).sum(1),
        "ref_per_token_logps": right("reference_A"),
        "importance_sampling_ratio": (old - sampled).exp().clamp(max=cap or 2.0),
        "num_items_in_batch": mask.sum().float(),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("policy-gradient")


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", GRPO)
@FEW
@given(groups=rollouts_of())
def test_grpo_is_that_of_trl(name: str, groups: list[RolloutGroup], adapter: bool, folder: Path) -> None:
    section, options = GRPO[name]
    if "importance" not in name:
        # TRL weighs nothing unless its own engine sampled.
        section = section.model_copy(update={"max_importance": None})
    ours = our_step(groups, section, adapter, folder)
    groups = with_advantages(groups, section)
    assert_same(ours, trl_step(groups, options, adapter, folder, cap=section.max_importance))


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@FEW
@given(groups=rollouts_of())
def test_rloo_is_that_of_trl(groups: list[RolloutGroup], adapter: bool, folder: Path) -> None:
    section = RLOO.model_copy(update={"max_importance": None})
    ours = our_step(groups, section, adapter, folder)
    assert_same(ours, trl_step(with_advantages(groups, section), {}, adapter, folder, rloo=True))


def test_unpacked_gives_the_same(folder: Path) -> None:
    count = 3 + 5 + 2
    group = RolloutGroup(
        prompt_token_ids=(5, 6, 7), candidates=((8, 9, 10), (11, 12, 13, 14, 15), (8, 16)), pairs=(),
        ids=("a", "b", "c"),
        rewards_C=np.array([0.0, 1.0, 0.5], np.float32), sampled_A=np.linspace(-0.3, 0.2, count, dtype=np.float32),
        old_A=np.linspace(-0.2, 0.2, count, dtype=np.float32), reference_A=np.zeros(count, np.float32),
    )  # fmt: skip

    def alone(model: Any) -> None:
        set_attention(model, Attention("alone", implementation="sdpa"))

    groups = [_around_the_policy(group)]
    section = GrpoSection(kl=0.1)
    assert_same(our_step(groups, section, False, folder, alone), our_step(groups, section, False, folder))
