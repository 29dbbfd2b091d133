"""The reward of each candidate of a question, from stored verdicts.

Invariant: an error or an unreadable verdict gives no reward, and is no low one. Verdicts that were read count alike,
whichever candidate is named first.
"""

import math
from collections.abc import Sequence

from rlaif.judges.decisions import score_of
from rlaif.judges.judge import Judge, Verdict


def candidate_rewards(judge: Judge, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[float | None]:
    """Return the reward of each of a question's candidates; None where there is none.

    A judge that rates gives its score, on its own scale: the mean of its ratings, if more than half of them can be
    read. Any other judge, and a panel, gives the win rate: the mean probability, over the candidate's comparisons that
    are decided, that it is the better one; a tie is one half.

    Args:
        count: how many candidates the question has.
        verdicts: any; those on other questions are ignored.
    """
    own = [verdict for verdict in verdicts if verdict.prompt_id == prompt_id]
    if own and all(verdict.second is None and verdict.judge_sha == judge.sha for verdict in own):
        by_candidate = [[verdict for verdict in own if verdict.first == index] for index in range(count)]
        return [score_of(ratings)[1] if ratings else None for ratings in by_candidate]
    wins: list[list[float]] = [[] for _ in range(count)]
    for decision in judge.decide(prompt_id, count, own):
        preference = 0.5 if decision.status == "tie" else decision.preference
        if preference is not None:
            wins[decision.first].append(preference)
            wins[decision.second].append(1.0 - preference)
    return [math.fsum(each) / len(each) if each else None for each in wins]
