"""The canaries of a round: pairs that people decided, judged before the round samples anything.

Invariant: a round whose judge agrees with people on fewer canaries than the recipe asks for is neither sampled nor
trained on. A canary that was answered in a round is not asked in it again; one that failed is.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from rlaif.data.labels import Label, load_labels
from rlaif.errors import UserError, WorkError
from rlaif.io.files import write_json
from rlaif.judge_evals.ask import IN_FLIGHT, ask_labels
from rlaif.judge_evals.outcomes import Judged
from rlaif.judges.judge import Judge
from rlaif.judges.verdict import Verdict
from rlaif.progress import Progress
from rlaif.recipe import CanariesSection
from rlaif.store.events import Emit, GoldSetJudged
from rlaif.store.rundir import RoundDir
from rlaif.store.schemas import VERDICTS
from rlaif.store.shards import ShardTable

CANARIES_FILE = "canaries.json"
_TABLE = "canaries"
_SHARD = 16
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A canary that the judge did not decide as people did.

    Attributes:
        id: of the label.
        people: the side that people prefer.
        judge: the side that the judge prefers, or how it ended without one: `tie`, `unparsed`, `error`, `silent`.
        reason: of an error, what went wrong; else "".
    """

    id: str
    people: str
    judge: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """What a judge made of a round's canaries.

    Attributes:
        round: number of the round.
        judge: its name.
        canaries: how many there are.
        agreed: those that it decided as people did.
        by_outcome: all of them by their `Outcome`.
        min_agreement: share that must agree.
        disagreeing: the others, in the order of the file.
    """

    round: int
    judge: str
    canaries: int
    agreed: int
    by_outcome: Mapping[str, int]
    min_agreement: float
    disagreeing: tuple[Disagreement, ...]

    @property
    def agreement(self) -> float:
        """Share of all canaries, undecided ones too, on which the judge agrees with people."""
        return self.agreed / self.canaries

    @property
    def passed(self) -> bool:
        """Whether the round may go on."""
        return self.agreement >= self.min_agreement

    @property
    def line(self) -> str:
        """The figure and its limit, for people."""
        figure = f"agrees with people on {self.agreed} of {self.canaries} canaries ({self.agreement:.3f})"
        return f"round {self.round}: judge {self.judge} {figure}, at least {self.min_agreement:g} is asked for"

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the round's `canaries.json`."""
        return {**asdict(self), "agreement": self.agreement, "passed": self.passed}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "CanaryResult":
        """Return the result that `to_json` wrote."""
        own = {field.name: value[field.name] for field in fields(cls)}
        return cls(**{**own, "disagreeing": tuple(Disagreement(**item) for item in value["disagreeing"])})


async def judge_canaries(
    judge: Judge,
    labels: Sequence[Label],
    directory: RoundDir,
    min_agreement: float,
    progress: Progress,
    emit: Emit,
    in_flight: int = IN_FLIGHT,
) -> CanaryResult:
    """Judge the canaries that this round has not judged yet, and hold all of them against people.

    Args:
        judge: the run's judge.
        labels: the canaries; people prefer one answer of each.
        directory: the round's; its `canaries/` takes the verdicts, `canaries.json` the result.
        min_agreement: share that must agree.
        progress: told of each canary, and of the result.
        emit: takes a `GoldSetJudged`.
        in_flight: canaries that are asked at once.

    Raises:
        WorkError: fewer agree; the message has the figure, the limit and the canaries' ids. Or the judge cannot go on.
    """
    table = ShardTable(directory.path(_TABLE), VERDICTS)
    known = _stored(judge, labels, table)
    progress.stage(f"round {directory.number}: canaries", len(labels), len(known))
    left = [_keyed(label) for label in labels if label.id not in known]
    asked: dict[str, Judged] = {}
    rows: list[dict[str, Any]] = []

    def take(item: Judged) -> None:
        asked[item.label.id] = item
        if item.outcome != "error":
            rows.extend(asdict(verdict) for verdict in item.verdicts)
        if len(asked) % _SHARD == 0:
            commit()
        agreed = sum(found.right for found in (*known.values(), *asked.values()))
        progress.advance(1, agreed=str(agreed))

    def commit() -> None:
        table.append(rows)
        rows.clear()

    try:
        await ask_labels(judge, left, take, in_flight)
    finally:
        commit()
    judged = [known[label.id] if label.id in known else asked[canary_id(label)] for label in labels]
    result = _result(directory.number, judge.name, labels, judged, min_agreement)
    write_json(directory.path(CANARIES_FILE), result.to_json())
    emit(
        GoldSetJudged(
            round=result.round,
            agreed=result.agreed,
            labels=result.canaries,
            agreement=round(result.agreement, 4),
            min_agreement=min_agreement,
        )
    )
    _require(result, directory)
    progress.say(result.line)
    return result


def check_stored(judge: Judge, labels: Sequence[Label], directory: RoundDir, min_agreement: float) -> None:
    """Stop a round whose canaries are all judged and disagree, before its engines start; else do nothing.

    Raises:
        WorkError: as `judge_canaries`.
    """
    known = _stored(judge, labels, ShardTable(directory.path(_TABLE), VERDICTS))
    if labels and len(known) == len(labels):
        judged = [known[label.id] for label in labels]
        _require(_result(directory.number, judge.name, labels, judged, min_agreement), directory)


def canary_id(label: Label) -> str:
    """Return what a canary's verdicts are stored under: its id, and what was shown to the judge.

    A label that is changed between two starts of a run is thus another canary, and is asked.
    """
    shown = (label.question, label.context, label.reference or "", *label.answers)
    return f"{label.id}@{hashlib.sha256(chr(0).join(shown).encode()).hexdigest()[:12]}"


def _keyed(label: Label) -> Label:
    return label.model_copy(update={"id": canary_id(label)})


def _stored(judge: Judge, labels: Sequence[Label], table: ShardTable) -> dict[str, Judged]:
    """Return what the round has of its canaries, by the labels' ids."""
    stored = {prompt_id: [Verdict(**row) for row in rows] for prompt_id, rows in table.by_prompt()}
    found = {}
    for label in labels:
        key = canary_id(label)
        if verdicts := stored.get(key):
            decisions = judge.decide(key, len(label.answers), verdicts)
            found[label.id] = Judged(label, tuple(verdicts), decisions[0] if decisions else None)
    return found


def _result(
    number: int, judge: str, labels: Sequence[Label], judged: Sequence[Judged], min_agreement: float
) -> CanaryResult:
    return CanaryResult(
        round=number,
        judge=judge,
        canaries=len(labels),
        agreed=sum(item.right for item in judged),
        by_outcome=dict(sorted(Counter(item.outcome for item in judged).items())),
        min_agreement=min_agreement,
        disagreeing=tuple(
            _disagreement(label, item) for label, item in zip(labels, judged, strict=True) if not item.right
        ),
    )


def _disagreement(label: Label, item: Judged) -> Disagreement:
    if item.outcome == "ok":
        return Disagreement(label.id, label.human, item.side or item.outcome)
    failed = [verdict.text for verdict in item.verdicts if verdict.status == "error"]
    return Disagreement(label.id, label.human, item.outcome, failed[0] if failed and item.outcome == "error" else "")


def _require(result: CanaryResult, directory: RoundDir) -> None:
    if result.passed:
        return
    named = ", ".join(f"{item.id} (people {item.people}, judge {item.judge})" for item in result.disagreeing[:_NAMED])
    more = len(result.disagreeing) - _NAMED
    raise WorkError(
        f"{result.line} (judge.canaries.min_agreement); nothing was sampled or trained on. It disagrees on {named}"
        f"{f' and {more} more' if more > 0 else ''}: see {directory.path(CANARIES_FILE)}"
    )


def load_canaries(section: CanariesSection | None) -> tuple[Label, ...]:
    """Return the labels that the judge is checked on: those on which people prefer one answer.

    Raises:
        UserError: the file is no label file, or has no such label.
    """
    if section is None:
        return ()
    labels = tuple(label for label in load_labels(section.path, section.limit) if label.human != "tie")
    if not labels:
        raise UserError(f"{section.path}: people see a tie in every label; expected judge.canaries with one preferred")
    return labels
