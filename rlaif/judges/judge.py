"""What a judge is to the rest of a run, and what serves the model of one that asks a model.

Invariant: asking and deciding are apart. `verdicts` asks and costs; `decide` is a pure function of the verdicts, so
that what the store holds can be decided again at any time, and comes out the same.
"""

from collections.abc import Sequence
from typing import Protocol

from rlaif.data.question import Question
from rlaif.judges.verdict import Decision, Verdict

Comparison = tuple[int, int]
"""Indices of two candidates of a prompt, the smaller one first."""


class Judge(Protocol):
    """Compares or rates the candidates of a prompt."""

    @property
    def name(self) -> str:
        """Name of the judge's file."""
        ...

    @property
    def sha(self) -> str:
        """sha256 of what decides its verdicts."""
        ...

    async def verdicts(
        self, prompt: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        """Ask for verdicts on the candidates of one prompt.

        Args:
            prompt: the question.
            answers: the candidates' texts; a verdict names them by index.
            comparisons: what is to be decided; None is every two candidates.

        Returns:
            The raw verdicts, errors among them, in the same order each time. None at all where the judge does not
            apply, such as an exact check of a prompt without a reference: that is no error, and nothing is decided.
        """
        ...

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        """Return what verdicts come to.

        Args:
            prompt_id: the prompt.
            count: how many candidates it has.
            verdicts: any; those on other prompts and of other judges (`judge_sha`) are left aside.

        Returns:
            One decision for each comparison that the judge has a verdict on, sorted by candidates.
        """
        ...
