"""A panel that asks its members in turn: an exact check decides what it can, and a model settles the rest.

Invariant: a member is asked only about comparisons that no member before it settled, and every decision is one member's
own, with that member's name and sha256.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rlaif.data.question import Question
from rlaif.judges.decisions import all_comparisons
from rlaif.judges.judge import Comparison, Judge, SpecJudge
from rlaif.judges.panel import PanelSpec
from rlaif.judges.verdict import Decision, Verdict


@dataclass(frozen=True, slots=True)
class FirstToDecide(SpecJudge):
    """A panel in which the first member that decides a comparison decides it for all.

    If no member decides, the comparison has the status of the last member that gave a verdict on it.

    Args:
        spec: the panel's file.
        members: its judges, in the order in which they are asked.
    """

    spec: PanelSpec
    members: tuple[Judge, ...]

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        """Ask the members in turn; the verdicts have the members' names. See `Judge`."""
        undecided = all_comparisons(len(answers)) if comparisons is None else sorted(comparisons)
        found: list[Verdict] = []
        for member in self.members:
            if not undecided:
                break
            found += await member.verdicts(question, answers, undecided)
            decisions = {(d.first, d.second): d for d in member.decide(question.id, len(answers), found)}
            undecided = [pair for pair in undecided if pair not in decisions or not self._settles(decisions[pair])]
        return found

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        """Take each comparison from the first member that settled it; see `Judge`."""
        taken: dict[Comparison, Decision] = {}
        for member in self.members:
            for decision in member.decide(prompt_id, count, verdicts):
                earlier = taken.get((decision.first, decision.second))
                if earlier is None or not self._settles(earlier):
                    taken[decision.first, decision.second] = decision
        return [taken[pair] for pair in sorted(taken)]

    def _settles(self, decision: Decision) -> bool:
        """Return whether no later member is asked: it is decided, or both answers are rated equally wrong."""
        if decision.status == "ok":
            return True
        limit, scores = self.spec.skip_when_both_below, (decision.score_first, decision.score_second)
        return (
            decision.status == "tie"
            and limit is not None
            and all(score is not None and score < limit for score in scores)
        )
