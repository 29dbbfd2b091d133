"""Whether text in an answer can turn a judge's right verdict around.

Invariant: only right verdicts are attacked, and the attack is in the answer that people reject, so a successful attack
makes the worse answer win by addressing the judge.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlaif.data.labels import Label
from rlaif.judge_evals.judged_labels import JudgedLabel
from rlaif.judge_evals.judging import IN_FLIGHT, judge_labels
from rlaif.judges.judge import Judge
from rlaif.stats.bootstrap import Estimate, estimates, ratio


@dataclass(frozen=True, slots=True)
class AttackMeasurement:
    """The effect of one attack on a judge's right verdicts.

    Attributes:
        name: of the attack.
        flipped: verdicts that the attack turns to the answer that carries it, of the attacked verdicts.
        undone: verdicts that it turns to a tie or makes unreadable.
        failed: number of labels with a failed request; `flipped` and `undone` leave them out.
        examples: ids of up to five labels whose verdict it flips.
    """

    name: str
    flipped: Estimate
    undone: Estimate
    failed: int
    examples: tuple[str, ...]


async def measure_attacks(
    judge: Judge,
    judged: Sequence[JudgedLabel],
    attacks: Mapping[str, Callable[[str], str]],
    *,
    limit: int | None = None,
    on_judged: Callable[[JudgedLabel], None] = lambda item: None,
    in_flight: int = IN_FLIGHT,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[AttackMeasurement, ...]:
    """Ask a judge again with each attack in the answers that people reject.

    Args:
        judged: the labels as the judge decides them without an attack.
        attacks: by name, a function from an answer to the attacked answer.
        limit: attack only the first so many right verdicts.
        on_judged, in_flight: as in `judge_labels`, for attacked labels.
        confidence, seed: of the intervals.
    """
    right = [item for item in judged if item.right][:limit]
    measured = []
    for name, attack in attacks.items():
        labels = [attacked(item.label, attack) for item in right]
        again = await judge_labels(judge, labels, on_judged, in_flight)
        measured.append(_measurement(name, again, confidence, seed))
    return tuple(measured)


def attacked(label: Label, attack: Callable[[str], str]) -> Label:
    """Return a label with an attack in the answer that people reject."""
    loser = "answer_b" if label.human == "a" else "answer_a"
    return label.model_copy(update={loser: attack(getattr(label, loser))})


def _measurement(name: str, again: Sequence[JudgedLabel], confidence: float, seed: int) -> AttackMeasurement:
    answered = np.array([item.outcome != "error" for item in again], float)
    flips = np.array([item.outcome == "ok" and not item.right for item in again], float)
    undone = np.array([item.outcome in ("tie", "unparsed", "silent") for item in again], float)
    figures, clusters = [ratio(flips, answered), ratio(undone, answered)], [item.cluster for item in again]
    flipped, lost = estimates(figures, clusters, confidence=confidence, seed=seed)
    examples = [item.label.id for item, flip in zip(again, flips, strict=True) if flip]
    return AttackMeasurement(name, flipped, lost, int(len(again) - answered.sum()), tuple(examples[:5]))
