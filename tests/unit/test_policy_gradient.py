"""Policy gradients: advantages by hand, which answers count, what the settings refuse, and PPO by the papers."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import TrainingArguments

from rlaif.errors import UserError
from rlaif.recipe import (
    GrpoSection,
    PolicyGradientSection,
    PpoSection,
    RlooSection,
    TrainersSection,
    parse_recipe,
)
from rlaif.training.groups import plan_packs
from rlaif.training.job import StartingWeights, TrainingJob
from rlaif.training.kernels.attention import Attention, set_attention
from rlaif.training.policy_gradient.advantages import (
    explained_variance,
    generalized_advantages,
    group_advantages,
    leave_one_out_advantages,
    whitened,
)
from rlaif.training.policy_gradient.old_policy import settle_old_policy
from rlaif.training.policy_gradient.ppo_trainer import GroupPPOTrainer
from rlaif.training.policy_gradient.returns import with_advantages
from rlaif.training.policy_gradient.rollouts import RolloutGroup, read_rollouts
from rlaif.training.policy_gradient.trainer import GroupGRPOTrainer, GroupRLOOTrainer, step_weights
from rlaif.training.policy_gradient.value_head import add_value_head
from tests.tiny import tiny_llama, tiny_tokenizer


def floats(*values: float) -> Any:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("gamma", "gae_lambda", "expected"),
    [
        # The errors of the values are -0.3, 0.2 and 0.6; each advantage adds 0.95 of the next one.
        (1.0, 0.95, (0.4315, 0.77, 0.6)),
        # 0.9 * 0.2 - 0.5 = -0.32, 0.9 * 0.4 - 0.2 = 0.16, 1 - 0.4 = 0.6; each adds 0.45 of the next one.
        (0.9, 0.5, (-0.1265, 0.43, 0.6)),
        (1.0, 1.0, (0.5, 0.8, 0.6)),  # The reward less the value.
        (1.0, 0.0, (-0.3, 0.2, 0.6)),  # The errors themselves.
    ],
)
def test_generalized_advantages_by_hand(gamma: float, gae_lambda: float, expected: tuple[float, ...]) -> None:
    values = floats(0.5, 0.2, 0.4)
    advantages, returns = generalized_advantages(floats(0, 0, 1), values, gamma=gamma, gae_lambda=gae_lambda)
    assert advantages == pytest.approx(expected, abs=1e-6)
    assert returns == pytest.approx(values + advantages)


def test_a_reward_on_each_token_counts() -> None:
    advantages, _ = generalized_advantages(floats(-0.1, 0.9), floats(0, 0), gamma=1.0, gae_lambda=1.0)
    assert advantages == pytest.approx([0.8, 0.9])


def test_advantages_of_groups_by_hand() -> None:
    rewards = floats(1, 0, 0.5, 0.5)
    assert group_advantages(rewards, scaled=False) == pytest.approx([0.5, -0.5, 0, 0])
    deviation = math.sqrt(0.5 / 3)
    assert group_advantages(rewards, scaled=True)[0] == pytest.approx(0.5 / (deviation + 1e-4))
    assert leave_one_out_advantages(rewards) == pytest.approx([2 / 3, -2 / 3, 0, 0])
    first, second = whitened([floats(1, 2), floats(3)])
    assert (*first, *second) == pytest.approx((-1.224745, 0, 1.224745), abs=1e-5)
    assert explained_variance(floats(0, 1), floats(0, 2)) == pytest.approx(0.75)
    assert explained_variance(floats(0, 1), floats(2, 2)) == 0


def row(name: str, reward: float | None, prompt: str = "q", **changes: Any) -> dict[str, Any]:
    return {
        "rollout_id": name, "prompt_id": prompt, "prompt_token_ids": [5, 6], "token_ids": [7, 8],
        "logprobs": [-1.0, -2.0], "reward": reward, "truncated": False, "policy": "p",
    } | changes  # fmt: skip


def test_only_answers_with_a_reward_are_in_a_group() -> None:
    rows = [
        row("a", 1.0), row("b", 0.0), row("c", None), row("d", 0.5, truncated=True),
        row("e", 1.0, "alike"), row("f", 1.0, "alike"), row("g", 0.5, "alone"),
    ]  # fmt: skip
    found = read_rollouts(rows, "mask", compared=True)
    assert [group.ids for group in found.groups] == [("a", "b")]
    assert (found.unscored, found.alike) == (2, 2)
    assert found.reward == pytest.approx(3.5 / 5)
    (group,) = found.groups
    assert group.sampled_A.tolist() == [-1, -2, -1, -2]
    assert [len(read_rollouts(rows, "mask", compared=False).groups)] == [3]


@pytest.mark.parametrize(
    ("truncated", "rewards"), [("mask", [1.0, 0.25]), ("zero", [1, 0.25, 0]), ("keep", [1, 0.25, 0.5])]
)
def test_a_cut_answer_earns_what_the_key_says(truncated: Any, rewards: list[float]) -> None:
    rows = [row("a", 1.0), row("b", 0.25), row("c", 0.5, truncated=True)]
    (group,) = read_rollouts(rows, truncated, compared=True).groups
    assert group.rewards_C.tolist() == rewards


@pytest.mark.parametrize(
    ("section", "settings", "said"),
    [
        (GrpoSection, {"reference": "previous"}, "reference does nothing without kl"),
        (GrpoSection, {"average": "constant"}, "average constant and answer_tokens belong together"),
        (GrpoSection, {"answer_tokens": 9}, "average constant and answer_tokens belong together"),
        (GrpoSection, {"clip": "cispo", "clip_low": 0.1}, "clip_low does nothing with clip cispo"),
        (GrpoSection, {"clip": "cispo", "ratio": "sequence"}, "ratio sequence is of clip ppo"),
        (RlooSection, {"kl": 0.1, "reference": "previous"}, "reference previous does nothing where kl is taken from"),
        (PpoSection, {"reference": "previous"}, "reference previous does nothing where kl is taken from rewards"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(section: Any, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        section(**settings)


def ppo_by_the_papers(model: Any, head: Any, groups: list[RolloutGroup], section: PpoSection) -> torch.Tensor:
    """The loss with its gradients, token by token: rewards, advantages, clipped losses of policy and values."""
    tokens: list[dict[str, Any]] = []
    for group in groups:
        start = 0
        for candidate, reward in zip(group.candidates, group.rewards_C.tolist(), strict=True):
            ids = torch.tensor([[*group.prompt_token_ids, *candidate]])
            hidden = model.model(input_ids=ids).last_hidden_state[0, len(group.prompt_token_ids) - 1 : -1]
            logps = model.lm_head(hidden).log_softmax(-1)
            answer = []
            for place, token in enumerate(candidate):
                at = start + place
                answer.append(
                    {
                        "logp": logps[place, token],
                        "value": hidden[place] @ head.weight + head.bias[0],
                        "old": group.old_A[at],
                        "old_value": group.values_A[at],
                        "sampled": group.sampled_A[at],
                        # Ouyang et al. 2022: the divergence of each token, and the answer's reward at its end.
                        "reward": -section.kl * (group.old_A[at] - group.reference_A[at])
                        + (reward if place == len(candidate) - 1 else 0.0),
                    }
                )
            for place, token in enumerate(answer):
                # Schulman et al. 2015: the discounted sum of the errors of the values.
                token["advantage"] = 0.0
                for later in range(place, len(answer)):
                    after = answer[later + 1]["old_value"] if later + 1 < len(answer) else 0.0
                    error = answer[later]["reward"] + section.gamma * after - answer[later]["old_value"]
                    token["advantage"] += (section.gamma * section.gae_lambda) ** (later - place) * error
                token["return"] = token["advantage"] + token["old_value"]
            tokens += answer
            start += len(candidate)
    every = torch.tensor([float(token["advantage"]) for token in tokens])
    mean, deviation = every.mean(), every.std(correction=0)
    total = torch.zeros(())
    for token in tokens:
        advantage = (token["advantage"] - mean) / deviation
        ratio = (token["logp"] - token["old"]).exp()
        clipped = ratio.clamp(1 - section.clip_low, 1 + section.clip_high)
        weight = min(math.exp(token["old"] - token["sampled"]), section.max_importance or math.inf)
        moved = token["old_value"] + (token["value"] - token["old_value"]).clamp(-0.2, 0.2)
        errors = [(value - token["return"]) ** 2 for value in (token["value"], moved)]
        total = total - weight * torch.min(ratio * advantage, clipped * advantage)
        total = total + section.value_weight * 0.5 * torch.max(*errors)
    loss = total / len(tokens)
    loss.backward()
    return loss


def ppo_groups() -> list[RolloutGroup]:
    draw = np.random.default_rng(0)
    found = []
    for number, lengths in enumerate([(3, 5), (2, 4, 1)]):
        count = sum(lengths)
        candidates = tuple(tuple(draw.integers(3, 96, length).tolist()) for length in lengths)
        around = [draw.normal(-4.5, 0.3, count).astype(np.float32) for _ in range(3)]
        found.append(
            RolloutGroup(
                prompt_token_ids=tuple(range(5, 9 + number)),
                candidates=candidates,
                pairs=(),
                ids=tuple(f"{number}-{index}" for index in range(len(lengths))),
                rewards_C=draw.random(len(lengths)).astype(np.float32),
                sampled_A=around[0],
                old_A=around[1],
                reference_A=around[2],
                values_A=draw.normal(0, 0.3, count).astype(np.float32),
            )
        )
    return found


@pytest.mark.parametrize("attention", ["groups", "alone"])
@pytest.mark.parametrize(("kind", "section"), [(GroupGRPOTrainer, GrpoSection()), (GroupRLOOTrainer, RlooSection())])
def test_a_temperature_is_no_difference_between_policies(
    kind: Any, section: PolicyGradientSection, attention: Any, tmp_path: Path
) -> None:
    """Engines give log-probabilities before the temperature; what the policy itself sampled weighs one all the same."""
    plain, model = tiny_llama(), tiny_llama()
    plain.set_attn_implementation("eager")
    set_attention(model, Attention(attention, implementation="sdpa" if attention == "alone" else ""))
    groups, cooler = [], []
    for group in ppo_groups():
        logits = []
        for candidate in group.candidates:
            ids = torch.tensor([[*group.prompt_token_ids, *candidate]])
            with torch.no_grad():
                logits.append(plain(input_ids=ids).logits[0, len(group.prompt_token_ids) - 1 : -1])
        tokens = torch.tensor([token for candidate in group.candidates for token in candidate])[:, None]
        raw, cool = (torch.cat(logits).div(each).log_softmax(-1).gather(1, tokens)[:, 0].numpy() for each in (1, 0.7))
        groups.append(replace(group, sampled_A=raw, policy="p"))
        cooler.append(cool)
    job: TrainingJob[PolicyGradientSection] = TrainingJob(
        start=StartingWeights("m", None, "float32", id="p"), rows="", out="", settings=section, seed=0, gpu=False,
        workers=TrainersSection(), temperature=0.7,
    )  # fmt: skip
    found = settle_old_policy(groups, model, "", job, values=False)
    assert found.origin == "trainer"
    for group, expected in zip(found.groups, cooler, strict=True):
        assert group.old_A == pytest.approx(expected, abs=1e-4)
    ready = with_advantages(found.groups, section)
    step = [[0, 1]]
    plan = plan_packs(ready, step, step_weights(ready, step, section), max_tokens=200, workers=1)
    args = TrainingArguments(str(tmp_path), remove_unused_columns=False, use_cpu=True, report_to=[], save_strategy="no")
    trainer = kind(
        model, args=args, processing_class=tiny_tokenizer(), groups=ready, plan=plan, section=section, temperature=0.7
    )
    batch = trainer.data_collator([{"pack": 0}])["batch"]
    torch.testing.assert_close(batch.importance, torch.ones_like(batch.importance), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("max_tokens", [200, 12], ids=["one pack", "a pack each"])
def test_ppo_is_that_of_the_papers(max_tokens: int, tmp_path: Path) -> None:
    section = PpoSection(kl=0.1)
    groups = ppo_groups()
    plain, model = tiny_llama(), tiny_llama()
    plain.set_attn_implementation("eager")
    heads = [add_value_head(each) for each in (plain, model)]
    for head in heads:
        with torch.no_grad():
            head.weight.copy_(torch.linspace(-0.1, 0.1, len(head.weight)))
            head.bias.fill_(0.05)
    expected = ppo_by_the_papers(plain, heads[0], groups, section)
    ready = with_advantages(groups, section)
    step = [[0, 1]]
    plan = plan_packs(ready, step, step_weights(ready, step, section), max_tokens=max_tokens, workers=1)
    args = TrainingArguments(
        str(tmp_path), remove_unused_columns=False, gradient_accumulation_steps=plan.accumulation, use_cpu=True,
        report_to=[], save_strategy="no",
    )  # fmt: skip
    trainer = GroupPPOTrainer(
        model, args=args, processing_class=tiny_tokenizer(), groups=ready, plan=plan, section=section, head=heads[1]
    )
    total = 0.0
    for pack in range(len(plan.packs)):
        value = trainer.compute_loss(trainer.model, trainer.data_collator([{"pack": pack}])) / plan.accumulation
        value.backward()
        total += value.item()
    assert total == pytest.approx(expected.item(), rel=1e-4)
    ours, theirs = ({name: weight.grad for name, weight in each.named_parameters()} for each in (model, plain))
    assert {"value_head.weight", "value_head.bias"} < theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        ("{objective: grpo, sampling: {top_p: 0.9}}", "sampling.top_p: 0.9; a policy gradient needs answers of the"),
        ("{objective: rloo, sampling: {temperature: 0.0}}", "sampling.temperature"),
        ("{objective: grpo, training: {reference: previous}}", "reference does nothing without kl"),
        ("{objective: ppo}\ncluster: {training: {workers: 2, strategy: fsdp}}", "cluster.training.strategy: ddp"),
    ],
)
def test_a_phase_that_cannot_work_is_one_line(phase: str, said: str) -> None:
    questions = "{train: {type: demo, split: train, count: 4}, heldout: {type: demo, split: heldout, count: 4}}"
    text = f"policy: {{model: m}}\nquestions: {questions}\njudge: {{name: reference}}\nphases:\n  - {phase}\n"
    with pytest.raises(UserError) as error:
        parse_recipe(text, "recipe.yaml")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
