"""A panel that asks all its members and decides by their votes or by the mean of their preferences.

Invariant: a member that does not apply has no vote; a comparison is decided only if more than half of the members that
apply have a readable decision; and an unreadable decision is no vote for either side.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from rlaif.data.question import Question
from rlaif.judges.decisions import margin_of, mean_preference, worst_status
from rlaif.judges.judge import Comparison, Judge, SpecJudge
from rlaif.judges.panel import PanelSpec
from rlaif.judges.verdict import Decision, Status, Verdict


@dataclass(frozen=True, slots=True)
class Vote(SpecJudge):
    """A panel whose members all judge. Decisions have the panel's name, verdicts the members'.

    In mode `majority` each decision is one vote; in mode `mean` it counts by its preference. A tie is half a vote for
    each side.

    Args:
        spec: the panel's file.
        members: its judges.
    """

    spec: PanelSpec
    members: tuple[Judge, ...]

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        """Ask all members at once; see `Judge`."""
        given = await asyncio.gather(*(member.verdicts(question, answers, comparisons) for member in self.members))
        return [verdict for verdicts in given for verdict in verdicts]

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        """Decide each comparison by the members that have a decision on it; see `Judge`."""
        found: dict[Comparison, list[Decision]] = {}
        for member in self.members:
            for decision in member.decide(prompt_id, count, verdicts):
                found.setdefault((decision.first, decision.second), []).append(decision)
        return [self._decide(prompt_id, comparison, found[comparison]) for comparison in sorted(found)]

    def _decide(self, prompt_id: str, comparison: Comparison, decisions: Sequence[Decision]) -> Decision:
        votes = [self._vote(decision) for decision in decisions if decision.status in ("ok", "tie")]
        status: Status = "tie"
        preference = None
        if 2 * len(votes) <= len(decisions):
            status = worst_status(decision.status for decision in decisions) or "error"
        else:
            mean = mean_preference(votes)
            if mean != 0.5:
                status, preference = "ok", mean
        return Decision(
            prompt_id, *comparison, status, preference, margin_of(preference), None, None, self.name, self.sha
        )

    def _vote(self, decision: Decision) -> float:
        if decision.preference is None:
            return 0.5
        return float(decision.preference > 0.5) if self.spec.mode == "majority" else decision.preference
