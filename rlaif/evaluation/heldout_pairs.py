"""How often a reward model prefers the preferred answer, on questions that it was not trained on.

Invariant: the scores are those of the reward-model judge. A conversation longer than the model's context counts as
failed, and two equal scores prefer neither answer.
"""

import asyncio
import os
from collections.abc import Sequence

from rlaif.chat import Messages
from rlaif.judges.reward_scores import Reward, RewardModel
from rlaif.preferences.reward_pairs import RewardPair
from rlaif.stats.bootstrap import Estimate, estimates, ratio
from rlaif.store.records.file_training_record import HeldOutPairs


def score_chats(
    model: str, chats: Sequence[Messages], gpu: bool, *, batch_size: int, threads: int | None
) -> list[Reward]:
    """Return a reward model's rewards of conversations, in order; for a process of its own.

    Args:
        threads: on a CPU; None takes all cores.
    """
    import torch

    if not gpu:
        torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    return asyncio.run(RewardModel(model, batch_size, "cuda" if gpu else "cpu").rewards(chats))


def accuracy_of(pairs: Sequence[RewardPair], rewards: Sequence[Reward], *, confidence: float, seed: int) -> Estimate:
    """Return the share of pairs whose chosen answer has the higher reward, with its interval over questions.

    Args:
        rewards: of each pair's chosen and then its rejected answer.
    """
    right = [
        float(chosen.score is not None and rejected.score is not None and chosen.score > rejected.score)
        for chosen, rejected in zip(rewards[::2], rewards[1::2], strict=True)
    ]
    share = ratio(right, [1.0] * len(right))
    return estimates([share], [pair.question for pair in pairs], confidence=confidence, seed=seed)[0]


def tally(pairs: Sequence[RewardPair], rewards: Sequence[Reward], sha256: str) -> HeldOutPairs:
    """Compare the rewards of each pair's chosen and then its rejected answer; `sha256` is that of the pairs."""
    right = tied = 0
    failed = []
    for pair, chosen, rejected in zip(pairs, rewards[::2], rewards[1::2], strict=True):
        if chosen.score is None or rejected.score is None:
            failed.append(pair.id)
            continue
        right += chosen.score > rejected.score
        tied += chosen.score == rejected.score
    return HeldOutPairs(
        questions=len({pair.question for pair in pairs}),
        pairs=len(pairs),
        right=right,
        tied=tied,
        failed=failed,
        accuracy=right / len(pairs),
        sha256=sha256,
    )
