"""What a judge is to the rest of a run: its verdicts, and the decisions that they lead to.

Invariant: asking and deciding are apart. `verdicts` asks and costs; `decide` is a pure function of the verdicts, so
stored verdicts can be decided again at any time with the same result. Only an `ok` verdict has a preference or a score:
a tie, an unreadable answer, an error and silence are statuses of their own, so that none can be mistaken for a low
number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rlaif.data.criteria import Mark
from rlaif.data.question import Question
from rlaif.judges.spec import JudgeSpec

Comparison = tuple[int, int]
"""Indices of two candidates of a question, the smaller one first."""
Status = Literal["ok", "tie", "unparsed", "error", "silent"]
Order = Literal["ab", "ba", "single"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer of a judge about one or two candidates of a question.

    A judge that samples its reasoning gives several for one comparison and order, which all count.

    Attributes:
        first, second: indices of the candidates; `second` is None for the rating of one.
        status: `ok` has a preference (two candidates) or a score (one); the others have neither. `silent`: the judge
            has read the candidate and cannot tell.
        preference: P(first is better than second) in [0, 1], whatever the order in which they were shown.
        score: the rating of `first` on the judge's scale.
        text: the judge's answer word for word; for an error, what went wrong; for silence, its reason. The principle of
            the comparison, if it has one, comes before it on its own line.
        judge, judge_sha: of a panel, those of the member; see `Judge`.
        prompt_sha: sha256 of the judge's template, "" for a judge without one.
        order: `ab` showed `first` first, `ba` showed `second` first, `single` showed one candidate.
        prompt_tokens, completion_tokens: cost of the verdict; 0 for a repetition of another and, in a run, for one from
            the response cache.
        seconds: from request to answer.
        mass: for a verdict read from log-probabilities, the probability in [0, 1] that the prompt's choices have
            together as the first token; None for others, and where it is not known.
        marks: for a rating by criteria, the mark by each; their weighted mean is the score.
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
    mass: float | None = None
    marks: tuple[Mark, ...] = ()

    def __post_init__(self) -> None:
        if self.status != "ok" and (self.preference is not None or self.score is not None):
            raise ValueError(f"a verdict of status {self.status} has neither a preference nor a score")
        if self.status == "ok" and self.second is not None and self.preference is None:
            raise ValueError("an ok verdict on two candidates has a preference")
        if self.status == "ok" and self.second is None and self.score is None:
            raise ValueError("an ok verdict on one candidate has a score")


def stored_verdict(row: Mapping[str, Any]) -> Verdict:
    """Return a verdict from its row of a table; shards of before a column lack it."""
    own = {name: value for name, value in row.items() if name != "chunks"}
    return Verdict(**{**own, "marks": tuple(Mark(**mark) for mark in row.get("marks") or ())})


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of all verdicts on a comparison.

    Attributes:
        status: as of a verdict, but never `silent`; only an `ok` decision may become a preference pair.
        preference: P(first is better), in [0, 1], for `ok` alone; never exactly 0.5.
        margin: |2 * preference - 1| in (0, 1] for judges that compare, or the difference of two scores.
        score_first, score_second: ratings of the two, where the judge rates.
        judge, judge_sha: of a panel, those of the member that decided, or of the panel itself if its members voted.
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
            count: how many candidates the question has.
            verdicts: any; those on other questions and of other judges (`judge_sha`) are ignored.

        Returns:
            One decision for each comparison that the judge has a verdict on, unless it is silent; sorted by candidates.
        """
        ...


@dataclass(frozen=True, slots=True)
class SpecJudge:
    """A judge with the name and the sha256 of its spec."""

    spec: JudgeSpec

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def sha(self) -> str:
        return self.spec.sha
