"""`objective: sft` on the best of the candidates that the policy samples: rejection sampling.

Dong et al. 2023 (RAFT, arXiv:2304.06767) and Touvron et al. 2023 (arXiv:2307.09288, section 3.2.2) train in this way.

Invariant: what is learned are the token ids that were sampled; a candidate that was cut, that thinks without an end or
that is empty is never learned.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rlaif.chat import Messages
from rlaif.objectives.objective import Materials, Objective, RoundWork
from rlaif.preferences.round_rows import judged_questions, no_example, write_rows
from rlaif.recipe import BestOfN, SftPhase
from rlaif.store.records.round_records import GatherStage
from rlaif.store.schemas import DEMONSTRATIONS
from rlaif.training.group_training import GroupTrainingResult
from rlaif.training.job import TrainingJob, Worker
from rlaif.training.sft.train import train_sft


class RejectionSampling(Objective[SftPhase]):
    """See `Objective`."""

    stages = ("sample", "judge", "gather", "train", "evaluate", "promote")
    rows = "demonstrations.parquet"

    @classmethod
    def prepare(cls, phase: SftPhase, materials: Materials) -> "RejectionSampling":
        """See `Objective`; there is nothing to load."""
        return cls()

    @property
    def train(self) -> Callable[[TrainingJob[Any], Worker], GroupTrainingResult]:
        """See `Objective`."""
        return train_sft

    async def gather(self, phase: SftPhase, work: RoundWork) -> GatherStage:
        """See `Objective`."""
        assert isinstance(phase.demonstrations, BestOfN)
        left_out: Counter[str] = Counter()
        best = _best_answers(work, phase.demonstrations.min_reward, left_out)
        units = write_rows(work.directory, self.rows, DEMONSTRATIONS, best, then_by="candidate")
        reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in left_out.items())
        work.say(f"{units:,} demonstrations" + (f"; left out: {reasons}" if reasons else ""))
        return GatherStage(unit="demonstrations", units=units, questions=len(work.questions), left_out=dict(left_out))


def _best_answers(work: RoundWork, min_reward: float | None, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    """Yield the row of each question's best candidate; count the other questions by why they have none."""
    for judged in judged_questions(work.directory):
        rewards = judged.rewards(work.judge)
        best, reason = best_candidate(judged.sampled, rewards, min_reward)
        if best is None:
            left_out[reason] += 1
        else:
            yield _row(best, work.render(work.train[judged.id]), rewards[best["candidate"]], judged.round)


def best_candidate(
    sampled: Sequence[Mapping[str, Any]], rewards: Sequence[float | None], min_reward: float | None
) -> tuple[Mapping[str, Any] | None, str]:
    """Return the row of a question's best candidate, the first of several; or None and the reason.

    Args:
        sampled: rows of candidates.
        rewards: of the candidates by index.
        min_reward: see `BestOfN`.
    """
    read = [reward for reward in rewards if reward is not None]
    if not read:
        return None, "without_a_reward"
    least = min_reward if min_reward is not None else min(read)
    rewarded = sorted(
        (row for row in sampled if rewards[row["candidate"]] is not None),
        key=lambda row: (-(rewards[row["candidate"]] or 0.0), row["candidate"]),
    )
    best = next((row for row in rewarded if no_example(row) is None), None)
    if best is None:
        return None, no_example(rewarded[0]) or ""
    reward = rewards[best["candidate"]]
    assert reward is not None
    if reward < least or (min_reward is None and reward == least):
        return None, "no_better_than_others" if min_reward is None else "below_min_reward"
    return best, ""


def _row(best: Mapping[str, Any], messages: Messages, reward: float | None, number: int) -> dict[str, Any]:
    prompt, answer = list(best["prompt_token_ids"]), list(best["token_ids"])
    return {
        "id": best["prompt_id"],
        "prompt": list(messages),
        "answer": [{"role": "assistant", "content": best["text"]}],
        "token_ids": prompt + answer,
        "starts": [len(prompt)],
        "ends": [len(prompt) + len(answer)],
        "prompt_id": best["prompt_id"],
        "candidate": best["candidate"],
        "reward": reward,
        "policy": best["policy"],
        "chunks": best.get("chunks"),
        "round": number,
    }
