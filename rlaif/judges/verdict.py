"""Verdicts, each one answer of a judge, and the decisions that they lead to.

Invariant: only an `ok` verdict has a preference or a score. A tie, an unreadable answer and an error are statuses of
their own, so that none of them can be mistaken for a low number.
"""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "tie", "unparsed", "error"]
Order = Literal["ab", "ba", "single"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer of a judge about one or two candidates of a question.

    A judge that samples its reasoning gives several for one comparison and order, which all count.

    Attributes:
        prompt_id: id of the question whose candidates were judged.
        first: index of a candidate.
        second: index of the other candidate, or None for the rating of one candidate.
        status: `ok` has a preference (two candidates) or a score (one); the others have neither.
        preference: P(first is better than second) in [0, 1], whatever the order in which they were shown.
        score: the rating of `first` on the judge's scale.
        text: the judge's answer word for word; for an error, what went wrong. The principle of the comparison, if it
            has one, comes before it on its own line.
        judge: name of the judge; for a panel, of the member.
        judge_sha: sha256 of what decides the judge's verdicts.
        prompt_sha: sha256 of the judge's template, "" for a judge without one.
        order: `ab` showed `first` first, `ba` showed `second` first, `single` showed one candidate.
        prompt_tokens, completion_tokens: cost of the verdict; 0 for a repetition of another and, in a run, for one from
            the response cache.
        seconds: from request to answer.
    """

    prompt_id: str
    first: int
    second: int | None
    status: Status
    preference: float | None
    score: float | None
    text: str
    judge: str
    judge_sha: str
    prompt_sha: str = ""
    order: Order = "single"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.status != "ok" and (self.preference is not None or self.score is not None):
            raise ValueError(f"a verdict of status {self.status} has neither a preference nor a score")
        if self.status == "ok" and self.second is not None and self.preference is None:
            raise ValueError("an ok verdict on two candidates has a preference")
        if self.status == "ok" and self.second is None and self.score is None:
            raise ValueError("an ok verdict on one candidate has a score")


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of all verdicts on a comparison.

    Attributes:
        prompt_id, first, second: the comparison; `first < second`.
        status: as of a verdict; only an `ok` decision may become a preference pair.
        preference: P(first is better), in [0, 1], for `ok` alone; never exactly 0.5.
        margin: |2 * preference - 1| in (0, 1] for judges that compare, or the difference of two scores.
        score_first, score_second: ratings of the two, where the judge rates.
        judge: name of the judge that decided: of a panel, the member, or the panel itself if its members voted.
        judge_sha: sha256 of what decides that judge's verdicts.
    """

    prompt_id: str
    first: int
    second: int
    status: Status
    preference: float | None
    margin: float | None
    score_first: float | None
    score_second: float | None
    judge: str
    judge_sha: str
