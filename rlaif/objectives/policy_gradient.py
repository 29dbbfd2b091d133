"""`objective: grpo | rloo | ppo`: the round's candidates with what its judge's stored verdicts reward them with."""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from rlaif.judges.judge import stored_verdict
from rlaif.objectives.objective import Materials, Objective, RoundWork
from rlaif.preferences.pairs import pair_id
from rlaif.preferences.rewards import candidate_rewards
from rlaif.recipe import PolicyGradientPhase
from rlaif.store.records.round_records import GatherStage
from rlaif.store.schemas import CANDIDATES, ROLLOUTS, VERDICTS
from rlaif.store.shards import ShardTable, joined, write_table
from rlaif.training.group_training import GroupTrainingResult
from rlaif.training.job import TrainingJob, Worker
from rlaif.training.policy_gradient.rollouts import read_rollouts
from rlaif.training.policy_gradient.train import train_policy_gradient


class PolicyGradientObjective(Objective[PolicyGradientPhase]):
    """See `Objective`."""

    stages = ("sample", "judge", "gather", "train", "evaluate", "promote")
    rows = "rollouts.parquet"
    carries_state = True

    @classmethod
    def prepare(cls, phase: PolicyGradientPhase, materials: Materials) -> "PolicyGradientObjective":
        """See `Objective`; there is nothing to load."""
        return cls()

    @property
    def train(self) -> Callable[[TrainingJob[Any], Worker], GroupTrainingResult]:
        """See `Objective`."""
        return train_policy_gradient

    async def gather(self, phase: PolicyGradientPhase, work: RoundWork) -> GatherStage:
        """See `Objective`."""
        rows = sorted(_rollouts(work), key=lambda row: (row["prompt_id"], row["candidate"]))
        write_table(work.directory.path(self.rows), pa.Table.from_pylist(rows, schema=ROLLOUTS))
        found = read_rollouts(rows, phase.training.truncated, compared=phase.objective != "ppo")
        units = sum(len(group.candidates) for group in found.groups)
        alike = len(rows) - found.unscored - units
        work.say(
            f"{units:,} answers to {len(found.groups):,} questions, mean reward {found.reward:.3f}; "
            f"left out: {found.unscored:,} without a reward, {alike:,} whose question's answers earned the same"
        )
        left_out = {"without_reward": found.unscored, "alike": alike}
        return GatherStage(
            unit="answers",
            units=units,
            questions=len({row["prompt_id"] for row in rows}),
            left_out={reason: count for reason, count in left_out.items() if count},
            figures={"reward": found.reward},
        )


def _rollouts(work: RoundWork) -> Iterator[dict[str, Any]]:
    """Yield a row for each candidate of the round."""
    candidates = ShardTable(work.directory.path("candidates"), CANDIDATES)
    verdicts = ShardTable(work.directory.path("verdicts"), VERDICTS)
    for question_id, sampled, judged in joined(candidates, verdicts):
        count = 1 + max(row["candidate"] for row in sampled)
        rewards = candidate_rewards(work.judge, question_id, count, [stored_verdict(row) for row in judged])
        prompt = work.render(work.train[question_id])
        for row in sampled:
            yield {
                "rollout_id": pair_id(work.directory.number, question_id, row["candidate"]),
                "prompt": prompt,
                "answer": [{"role": "assistant", "content": row["text"]}],
                "prompt_id": question_id,
                "candidate": row["candidate"],
                "prompt_token_ids": row["prompt_token_ids"],
                "token_ids": row["token_ids"],
                "logprobs": row["logprobs"],
                "reward": rewards[row["candidate"]],
                "truncated": row["finish_reason"] == "length",
                "source": "ai",
                "judge": work.judge.name,
                "judge_sha": work.judge.sha,
                "policy": row["policy"],
                "round": work.directory.number,
            }
