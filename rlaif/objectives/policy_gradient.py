"""`objective: grpo | rloo | ppo`: the round's candidates with what its judge's stored verdicts reward them with."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rlaif.objectives.objective import Materials, Objective, RoundWork
from rlaif.preferences.pairs import pair_id
from rlaif.preferences.round_rows import judged_questions, write_rows
from rlaif.recipe import PolicyGradientPhase
from rlaif.store.records.round_records import GatherStage
from rlaif.store.schemas import ROLLOUTS
from rlaif.training.group_training import GroupTrainingResult
from rlaif.training.job import TrainingJob, Worker
from rlaif.training.policy_gradient.rollouts import Rollouts, read_rollouts
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
        counts = _Counts()
        rows = _rollouts(phase, work, counts)
        write_rows(work.directory, self.rows, ROLLOUTS, rows, then_by="candidate")
        reward = counts.rewards / counts.scored if counts.scored else 0.0
        unscored, alike = counts.answers - counts.scored, counts.scored - counts.units
        work.say(
            f"{counts.units:,} answers to {counts.groups:,} questions, mean reward {reward:.3f}; "
            f"left out: {unscored:,} without a reward, {alike:,} whose question's answers earned the same"
        )
        left_out = {"without_reward": unscored, "alike": alike}
        return GatherStage(
            unit="answers",
            units=counts.units,
            questions=counts.questions,
            left_out={reason: count for reason, count in left_out.items() if count},
            figures={"reward": reward},
        )


@dataclass(slots=True)
class _Counts:
    """What a round gathers: all of its answers, those with a reward, and those that are learned from, in groups."""

    questions: int = 0
    answers: int = 0
    scored: int = 0
    units: int = 0
    groups: int = 0
    rewards: float = 0.0

    def add(self, answers: int, found: Rollouts) -> None:
        """Count a question."""
        scored = answers - found.unscored
        self.questions += 1
        self.answers += answers
        self.scored += scored
        self.units += sum(len(group.candidates) for group in found.groups)
        self.groups += len(found.groups)
        self.rewards += found.reward * scored


def _rollouts(phase: PolicyGradientPhase, work: RoundWork, counts: _Counts) -> Iterator[dict[str, Any]]:
    """Yield a row for each candidate of the round."""
    compared = phase.objective != "ppo"
    for judged in judged_questions(work.directory):
        rewards, prompt = judged.rewards(work.judge), work.render(work.train[judged.id])
        rows = [
            {
                **judged.answer_columns(row, prompt, work.judge),
                "rollout_id": pair_id(work.directory.number, judged.id, row["candidate"]),
                "logprobs": row["logprobs"],
                "reward": rewards[row["candidate"]],
                "truncated": row["finish_reason"] == "length",
            }
            for row in judged.sampled
        ]
        counts.add(len(rows), read_rollouts(rows, phase.training.truncated, compared=compared))
        yield from rows
