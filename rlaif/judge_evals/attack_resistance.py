"""Whether text in an answer can talk a judge out of a verdict that is right.

Invariant: only verdicts that are right without the attack are attacked, and the attack stands in the answer that people
reject: where it works, the worse answer wins by what it says to the judge.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlaif.data.labels import Label
from rlaif.judge_evals.ask import IN_FLIGHT, ask_labels
from rlaif.judge_evals.outcomes import Judged
from rlaif.judges.judge import Judge
from rlaif.stats.bootstrap import Estimate, estimates, ratio


@dataclass(frozen=True, slots=True)
class AttackMeasurement:
    """What one attack does to a judge's right verdicts.

    Attributes:
        name: of the attack.
        flipped: of the right verdicts, those that the attack turns to the answer that carries it.
        undone: those that it turns to a tie, or to what cannot be read.
        failed: labels on which the attacked question failed; they count for nothing above.
        examples: ids of up to five labels whose verdict it flipped.
    """

    name: str
    flipped: Estimate
    undone: Estimate
    failed: int
    examples: tuple[str, ...]


async def measure_attacks(
    judge: Judge,
    judged: Sequence[Judged],
    attacks: Mapping[str, Callable[[str], str]],
    *,
    limit: int | None = None,
    told: Callable[[Judged], None] = lambda item: None,
    in_flight: int = IN_FLIGHT,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[AttackMeasurement, ...]:
    """Ask a judge again with each attack in the answers that people reject.

    Args:
        judge: the judge.
        judged: what it said of the labels without an attack.
        attacks: by name, what makes the attacked text of an answer.
        limit: attack the first so many right verdicts alone.
        told: called with each attacked label that is done.
        in_flight: labels that are asked at once.
        confidence, seed: of the intervals.
    """
    right = [item for item in judged if item.right][:limit]
    measured = []
    for name, attack in attacks.items():
        labels = [attacked(item.label, attack) for item in right]
        again = await ask_labels(judge, labels, told, in_flight)
        measured.append(_measurement(name, again, confidence, seed))
    return tuple(measured)


def attacked(label: Label, attack: Callable[[str], str]) -> Label:
    """Return a label with an attack in the answer that people reject."""
    loser = "answer_b" if label.human == "a" else "answer_a"
    return label.model_copy(update={loser: attack(getattr(label, loser))})


def _measurement(name: str, again: Sequence[Judged], confidence: float, seed: int) -> AttackMeasurement:
    answered = np.array([item.outcome != "error" for item in again], float)
    flips = np.array([item.outcome == "ok" and not item.right for item in again], float)
    undone = np.array([item.outcome in ("tie", "unparsed", "silent") for item in again], float)
    flipped, lost = estimates(
        [ratio(flips, answered), ratio(undone, answered)],
        [item.cluster for item in again],
        confidence=confidence,
        seed=seed,
    )
    examples = [item.label.id for item, flip in zip(again, flips, strict=True) if flip]
    return AttackMeasurement(name, flipped, lost, int(len(again) - answered.sum()), tuple(examples[:5]))
