"""Panels: several judges that come to one decision, in turn or by a vote.

Invariant: in turn, a member is asked only about comparisons that no member before it settled, and every decision is one
member's own. In a vote, a member that does not apply has no vote; a comparison is decided only if more than half of the
members that apply have a readable decision; and an unreadable decision is no vote for either side.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from rlaif.data.question import Question
from rlaif.errors import RlaifError
from rlaif.judges.decisions import all_comparisons, margin_of, mean_preference, worst_status
from rlaif.judges.judge import Comparison, Decision, Judge, SpecJudge, Status, Verdict
from rlaif.judges.spec import JudgeSpec, KeyFault


class PanelSpec(JudgeSpec):
    """Several judges that come to one decision."""

    kind: Literal["panel"]
    mode: Literal["first-to-decide", "majority", "mean"]
    """`first-to-decide` asks the judges in turn, each only about the comparisons that those before it left open.
    `majority` asks all and counts their votes; `mean` asks all and averages their preferences. A tie is half a vote for
    each side; a judge that does not apply to a question has no vote."""
    judges: tuple[str, ...] = Field(min_length=1)
    """The judges, each once: names in `judges/`, or paths from the judge file or the working directory."""
    skip_when_both_below: float | None = None
    """With `first-to-decide`: a comparison that a rating judge ties with both ratings below this stays a tie, and no
    later judge is asked. Two answers that an exact check found wrong have nothing to teach, and a small model asked to
    choose between them would teach its own taste in mistakes."""

    _members: tuple[JudgeSpec, ...] = PrivateAttr(default=())

    def _resolve(self) -> None:
        if self.mode != "first-to-decide" and self.skip_when_both_below is not None:
            raise KeyFault("skip_when_both_below", f"mode {self.mode} asks all judges; remove this key")
        load = self._origin.load_member
        if load is None:
            raise ValueError("a panel is read from its file, since its members are")
        self._members = tuple(load(name, f"judges.{index}") for index, name in enumerate(self.judges))
        shas = [leaf.sha for leaf in self.leaves]
        if twice := [leaf.name for leaf in self.leaves if shas.count(leaf.sha) > 1]:
            # Verdicts are assigned by sha256, so the two would share theirs.
            raise KeyFault("judges", f"{' and '.join(twice)} are the same judge; expected each once")

    @property
    def members(self) -> tuple[JudgeSpec, ...]:
        """The judges, in the order in which they are asked."""
        return self._members

    def with_members(self, members: tuple[JudgeSpec, ...]) -> "PanelSpec":
        """Return a panel of other judges."""
        panel = self.model_copy()
        panel._members = members
        return panel

    def _deciding(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "mode": self.mode,
            "members": [member.sha for member in self._members],
            "skip_when_both_below": self.skip_when_both_below,
        }

    @property
    def models(self) -> frozenset[str]:
        return frozenset().union(*(member.models for member in self._members))

    @property
    def leaves(self) -> tuple[JudgeSpec, ...]:
        return tuple(leaf for member in self._members for leaf in member.leaves)

    @property
    def files(self) -> frozenset[tuple[str, Path]]:
        return super().files.union(*(member.files for member in self._members))

    @property
    def answer_tokens(self) -> int:
        return max(member.answer_tokens for member in self._members)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "members": [member.describe() for member in self._members]}


@dataclass(frozen=True, slots=True)
class FirstToDecide(SpecJudge):
    """A panel in which the first member that decides a comparison decides it for all.

    If no member decides, the comparison has the status of the last member that gave a verdict on it.
    """

    spec: PanelSpec
    members: tuple[Judge, ...]

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
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


@dataclass(frozen=True, slots=True)
class Vote(SpecJudge):
    """A panel whose members all judge. Decisions have the panel's name, verdicts the members'."""

    spec: PanelSpec
    members: tuple[Judge, ...]

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        try:
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(member.verdicts(question, answers, comparisons)) for member in self.members]
        except* RlaifError as errors:
            # No member is asked any more where one ends the work.
            raise errors.exceptions[0] from None
        return [verdict for task in asked for verdict in task.result()]

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
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
        elif (mean := mean_preference(votes)) != 0.5:
            status, preference = "ok", mean
        return Decision(
            prompt_id, *comparison, status, preference, margin_of(preference), None, None, self.name, self.sha
        )

    def _vote(self, decision: Decision) -> float:
        if decision.preference is None:
            return 0.5
        return float(decision.preference > 0.5) if self.spec.mode == "majority" else decision.preference
