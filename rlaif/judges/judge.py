"""What a judge is to the rest of a run, and what the judges of a file share.

Invariant: asking and deciding are apart. `verdicts` asks and costs; `decide` is a pure function of the verdicts, so
stored verdicts can be decided again at any time with the same result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rlaif.data.question import Question
from rlaif.judges.spec import JudgeSpec
from rlaif.judges.verdict import Decision, Verdict

Comparison = tuple[int, int]
"""Indices of two candidates of a question, the smaller one first."""


class Judge(Protocol):
    """Compares or rates the candidates of a question."""

    @property
    def name(self) -> str:
        """Name of the judge's file."""
        ...

    @property
    def sha(self) -> str:
        """sha256 of what decides its verdicts."""
        ...

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        """Ask for verdicts on the candidates of one question.

        Args:
            question: the question.
            answers: the candidates' texts; a verdict names them by index.
            comparisons: what is to be decided; None is every two candidates.

        Returns:
            The raw verdicts, errors included, in the same order each time. An empty list means that the judge does not
            apply, such as an exact check of a question without a gold answer: no error, and nothing is decided.
        """
        ...

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        """Decide comparisons from verdicts.

        Args:
            prompt_id: id of the question.
            count: how many candidates it has.
            verdicts: any; those on other questions and of other judges (`judge_sha`) are ignored.

        Returns:
            One decision for each comparison that the judge has a verdict on, sorted by candidates.
        """
        ...


@dataclass(frozen=True, slots=True)
class SpecJudge:
    """A judge with the name and the sha256 of its spec."""

    spec: JudgeSpec

    @property
    def name(self) -> str:
        """Name of the judge's file."""
        return self.spec.name

    @property
    def sha(self) -> str:
        """sha256 of what decides its verdicts."""
        return self.spec.sha
