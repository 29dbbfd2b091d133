"""What a judge is shown of answers: their visible part, without the thinking before and within it.

Invariant: an answer without a visible part, such as one whose thinking has no end, is preferred to no other, whatever
the judge says of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlaif.chat import visible_answer
from rlaif.data.question import Question
from rlaif.judges.judge import Comparison, Decision, Judge, Verdict

_NO_ANSWER = "[an empty answer is not preferred to another]"


@dataclass(frozen=True, slots=True)
class VisibleAnswers:
    """A judge of one's visible answers only; what is stored of the candidates keeps their whole texts."""

    judge: Judge

    @property
    def name(self) -> str:
        """Name of the judge's file."""
        return self.judge.name

    @property
    def sha(self) -> str:
        """sha256 of what decides the judge's verdicts."""
        return self.judge.sha

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        """Ask about the visible answers; an answer without one is empty. See `Judge`."""
        visible = [visible_answer(answer) or "" for answer in answers]
        verdicts = await self.judge.verdicts(question, visible, comparisons)
        empty = {index for index, answer in enumerate(visible) if not answer.strip()}
        return _without_preference_for(empty, verdicts) if empty else verdicts

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        """See `Judge`."""
        return self.judge.decide(prompt_id, count, verdicts)


def _without_preference_for(empty: set[int], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return verdicts in which no empty answer wins: a tie instead, and no higher a rating than the others' lowest."""
    rated = [verdict.score for verdict in verdicts if verdict.score is not None and verdict.first not in empty]
    lowest = min(rated, default=None)
    changed = []
    for verdict in verdicts:
        if verdict.preference is not None and verdict.second is not None:
            winner = verdict.first if verdict.preference > 0.5 else verdict.second
            if winner in empty:
                verdict = replace(verdict, status="tie", preference=None, text=f"{verdict.text}\n{_NO_ANSWER}")
        elif verdict.score is not None and verdict.first in empty and lowest is not None and verdict.score > lowest:
            verdict = replace(verdict, score=lowest, text=f"{verdict.text}\n{_NO_ANSWER}")
        changed.append(verdict)
    return changed
