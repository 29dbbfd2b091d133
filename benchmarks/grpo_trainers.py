"""Measures one trainer of GRPO, ours or TRL's `GRPOTrainer`, on given answers; see `trainers.py`.

TRL's trainer is given the batches that it would make of the same answers, so that neither side samples.
"""

import random
import tempfile
from typing import Any

from trainers import _FIRST_TOKEN, _LAST_TOKEN, Case, Figures, arguments, load, peak_gib, time_steps

_LOGP = -9.0  # About what the embedded model gives a random token.


def random_rollouts(case: Case) -> list[Any]:
    """Return made-up prompts, each with several answers and their rewards."""
    import numpy as np

    from rlaif.recipe import GrpoSection
    from rlaif.training.policy_gradient.returns import with_advantages
    from rlaif.training.policy_gradient.rollouts import RolloutGroup

    draw = random.Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(_FIRST_TOKEN, _LAST_TOKEN) for _ in range(count))

    logps_A = np.full(case.candidates * case.answer, _LOGP, np.float32)
    groups = [
        RolloutGroup(
            prompt_token_ids=tokens(case.prompt),
            candidates=tuple(tokens(case.answer) for _ in range(case.candidates)),
            pairs=(),
            rewards_C=np.array([draw.random() for _ in range(case.candidates)], np.float32),
            sampled_A=logps_A,
            old_A=logps_A,
        )
        for _ in range(case.groups)
    ]
    return with_advantages(groups, GrpoSection())


def measure_ours(case: Case) -> Figures:
    """Train with `GroupGRPOTrainer`; each step goes over all answers."""
    from transformers import TrainingArguments

    from rlaif.recipe import GrpoSection
    from rlaif.training.groups import plan_packs, plan_steps
    from rlaif.training.policy_gradient.trainer import GroupGRPOTrainer, step_weights

    model, tokenizer = load(case)
    groups, section = random_rollouts(case), GrpoSection()
    steps = plan_steps([1] * len(groups), epochs=1 + case.steps, per_step=len(groups), seed=0)
    plan = plan_packs(groups, steps, step_weights(groups, steps, section), max_tokens=case.pack, workers=1)
    with tempfile.TemporaryDirectory() as folder:
        args = arguments(folder, case, 1, plan.accumulation, TrainingArguments, remove_unused_columns=False)
        # The plan contains all steps.
        args.num_train_epochs = 1
        trainer = GroupGRPOTrainer(
            model, args=args, processing_class=tokenizer, groups=groups, plan=plan, section=section
        )
        seconds, loss = time_steps(trainer, case.steps)
    tokens = sum(group.tokens for group in groups)
    return Figures(seconds, 0.0, case.groups, tokens, 0, peak_gib(case.gpu), loss)


def measure_trl(case: Case) -> Figures:
    """Train with TRL's own trainer, on batches of the given answers."""
    import torch
    from datasets import Dataset
    from torch.utils.data import DataLoader
    from trl import GRPOConfig, GRPOTrainer

    model, tokenizer = load(case)
    groups = random_rollouts(case)
    rows = [
        {"prompt": list(group.prompt_token_ids), "answer": list(answer), "advantage": float(advantage_A[0])}
        for group in groups
        for answer, advantage_A in zip(group.candidates, group.by_answer(group.advantages_A), strict=True)
    ]
    step_tokens = float(len(rows) * case.answer)

    def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
        prompts, answers = (torch.tensor([row[name] for row in batch]) for name in ("prompt", "answer"))
        return {
            "prompt_ids": prompts, "prompt_mask": torch.ones_like(prompts), "completion_ids": answers,
            "completion_mask": torch.ones_like(answers), "num_items_in_batch": torch.tensor(step_tokens),
            "advantages": torch.tensor([row["advantage"] for row in batch]),
            "old_per_token_logps": torch.full(answers.shape, _LOGP),
        }  # fmt: skip

    class Given(GRPOTrainer):  # type: ignore[misc]
        def get_train_dataloader(self) -> Any:
            return DataLoader(rows, batch_size=case.batch, collate_fn=collate)  # type: ignore[arg-type]

        def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
            return {name: value.to(self.args.device) for name, value in inputs.items()}

    with tempfile.TemporaryDirectory() as folder:
        accumulation = -(-len(rows) // case.batch)
        args = arguments(
            folder, case, case.batch, accumulation, GRPOConfig, loss_type="dapo", beta=0.0, epsilon_high=0.28,
            # Nothing is generated; TRL wants two or more that divide the answers of a step.
            num_generations=max(case.batch, accumulation), max_completion_length=case.answer,
            remove_unused_columns=False,
        )  # fmt: skip
        trainer = Given(
            model, reward_funcs=lambda completions, **_: [0.0] * len(completions), args=args,
            train_dataset=Dataset.from_list([{"prompt": "a"}]), processing_class=tokenizer,
        )  # fmt: skip
        seconds, loss = time_steps(trainer, case.steps)
    tokens = len(rows) * (case.prompt + case.answer)
    return Figures(seconds, 0.0, case.groups, tokens, 0, peak_gib(case.gpu), loss)
