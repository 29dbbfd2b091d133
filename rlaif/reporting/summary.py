"""The state of a run, read from its JSON files alone: the policies it made, their figures, and what is missing.

Invariant: reading writes nothing and waits for no stage. A fact that is not known yet is None, never zero, and is
named in `missing`. Keys of the JSON are only added, so that programs may rely on them.
"""

import fcntl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from rlaif.errors import UserError
from rlaif.recipe import stored_tree
from rlaif.stats.bootstrap import interval_json
from rlaif.store.records.people_record import PEOPLE_FILE, PeopleRecord
from rlaif.store.records.record import RecordPart
from rlaif.store.records.round_records import EvaluationRecord, GateResult, Mean, PolicyRecord, RoundRecord, error_share
from rlaif.store.records.run_records import RunRecord
from rlaif.store.rundir import RoundDir, RunDir


class PolicyState(RecordPart):
    """One policy of a run.

    Attributes:
        number: 0 for the initial policy, k for the one that round k - 1 trained.
        id, kind, parent, files: see `PolicyRecord`; None or empty before it is trained.
        questions: held-out questions that it was measured on; None before that.
        failed: those of them without an answer.
        judge_errors: those on which the judge failed; they are left out of `win_rate`.
        metrics: means over the held-out questions by name: score, exact, f1, win_rate, length, kl; test_score over the
            test questions.
        difference: its score minus the initial policy's, question by question.
        promoted: None while undecided.
        phase: title of the phase whose round trained it; None for the initial policy, and where the recipe has none.
        learned: what that round learned from, such as `12 demonstrations`; "" before it is gathered.
        note: why there is no such policy, or "".
    """

    number: int
    id: str | None = None
    kind: str | None = None
    parent: str | None = None
    files: dict[str, str] = Field(default_factory=dict)
    questions: int | None = None
    failed: int = 0
    judge_errors: int = 0
    metrics: dict[str, Mean] = Field(default_factory=dict)
    difference: Mean | None = None
    gate: GateResult | None = None
    promoted: bool | None
    phase: str | None = None
    learned: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The state of a run.

    Attributes:
        recipe: the resolved recipe as plain values; empty if it is missing.
        state: that of `run.json`, or `killed` if it says `running` and no process holds the run's lock (known only on
            a file system).
        reason: why the run stopped or failed, or None.
        policies: the initial policy, then one for each round that has begun.
        rounds: those that have begun.
        people: what people were asked and decided, of the rounds with a queue for them.
        last_event: time of the last event, ISO 8601, or None.
    """

    root: str
    record: RunRecord
    recipe: Mapping[str, Any]
    state: str
    reason: str | None
    policies: tuple[PolicyState, ...]
    rounds: tuple[RoundRecord, ...]
    people: tuple[PeopleRecord, ...]
    last_event: str | None

    @property
    def planned(self) -> int:
        """Rounds that the recipe asks for; at least those that have begun."""
        return max(int((self.recipe.get("rounds") or {}).get("count", 0)), len(self.rounds))

    @property
    def rounds_done(self) -> int:
        """Rounds with all stages done."""
        return sum(not record.left for record in self.rounds)

    @property
    def pairs(self) -> int:
        """Preference pairs of all rounds so far."""
        return sum(record.stages.pairs.pairs for record in self.rounds if record.stages.pairs)

    @property
    def confidence(self) -> float:
        return float((self.recipe.get("evaluation") or {}).get("confidence", 0.95))

    @property
    def initial(self) -> PolicyState:
        return self.policies[0]

    @property
    def current(self) -> PolicyState:
        """The policy that was promoted last, or the initial one."""
        promoted = [policy for policy in self.policies[1:] if policy.promoted and policy.id is not None]
        return promoted[-1] if promoted else self.initial

    @property
    def has_phases(self) -> bool:
        """Whether the recipe has phases, of which a report says which one trained a policy."""
        return any(record.phase is not None for record in self.rounds)

    @property
    def metric(self) -> str:
        """Metric that compares the policies: the score, or without any gold answer the win rate."""
        known = [policy for policy in self.policies if policy.questions is not None]
        return "score" if not known or any("score" in policy.metrics for policy in known) else "win_rate"

    @property
    def missing(self) -> tuple[str, ...]:
        """What is still to do, one line each."""
        lines = [] if self.initial.questions is not None else ["initial policy: evaluate"]
        lines += [f"round {record.round}: {', '.join(record.left)}" for record in self.rounds if record.left]
        begun, last = len(self.rounds), self.planned - 1
        if begun <= last:
            lines.append(f"round {begun}: not begun" if begun == last else f"rounds {begun} to {last}: not begun")
        return tuple(lines)


def summarize(run: RunDir) -> RunSummary:
    """Read the state of a run.

    Raises:
        UserError: there is no run, or one of its files cannot be read.
    """
    record = run.record()
    if record is None:
        raise UserError(f"{run.root}: no run there; expected a folder with a run.json")
    text = run.recipe_text()
    recipe = stored_tree(text, run.path("recipe.yaml")) if text else {}
    directories = run.rounds()
    rounds = tuple(directory.record() for directory in directories)
    measured = EvaluationRecord.read(run.path("initial", "evaluation.json"))
    initial = PolicyState(number=0, id=record.policy.id, kind="base", promoted=True, **_figures(measured))
    trained = (_trained_policy(directory, entry) for directory, entry in zip(directories, rounds, strict=True))
    events = run.events.read()
    state = _state(run, record.state)
    reasons = [getattr(event, "reason", None) for event in events if event.event == state]
    return RunSummary(
        root=run.root,
        record=record,
        recipe=recipe,
        state=state,
        reason=reasons[-1] if reasons and reasons[-1] else None,
        policies=(initial, *trained),
        rounds=rounds,
        people=tuple(filter(None, (PeopleRecord.read(entry.path(PEOPLE_FILE)) for entry in directories))),
        last_event=events[-1].time if events else None,
    )


def _state(run: RunDir, recorded: str) -> str:
    """Return the recorded state, or `killed` if a running run has no process any more."""
    if recorded != "running" or not run.local:
        return recorded
    try:
        with open(run.path(".lock"), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return "killed"
    except OSError:
        # The driver holds the lock, or the file system has no locks.
        return "running"
    return "killed"


def _trained_policy(directory: RoundDir, record: RoundRecord) -> PolicyState:
    trained = PolicyRecord.read(directory.path("policy.json"))
    measured = EvaluationRecord.read(directory.path("evaluation.json"))
    note = ""
    if trained is None:
        reasons = [stage.reason for stage in (record.stages.train, record.stages.promote) if stage and stage.reason]
        note = f"nothing trained: {reasons[0]}" if reasons else "not trained yet"
    elif measured is None:
        note = "not evaluated yet"
    return PolicyState(
        number=directory.number + 1,
        promoted=record.promoted,
        phase=record.phase,
        learned=f"{record.gathered.units:,} {record.gathered.unit}" if record.gathered else "",
        note=note,
        **(trained.model_dump(include={"id", "kind", "parent", "files"}) if trained else {}),
        **_figures(measured),
    )


def _figures(measured: EvaluationRecord | None) -> dict[str, Any]:
    """Return the fields of a policy's state that its evaluation fills; a mean of no values is left out."""
    if measured is None:
        return {}
    difference = measured.difference
    return {
        "questions": measured.questions,
        "failed": measured.failed,
        "judge_errors": measured.judge_errors,
        "metrics": {name: found for name, found in measured.metrics.items() if found.value is not None},
        "difference": difference if difference and difference.value is not None else None,
        "gate": measured.gate,
    }


def summary_json(summary: RunSummary) -> dict[str, Any]:
    """Return a run's state, policies and rounds; `metric` names the metric of `initial` and `current`."""
    return {
        "name": summary.record.name,
        "run": summary.root,
        "state": summary.state,
        "reason": summary.reason,
        "rounds": {"done": summary.rounds_done, "planned": summary.planned},
        "pairs": summary.pairs,
        "metric": summary.metric,
        "confidence": summary.confidence,
        "initial": interval_json(summary.initial.metrics.get(summary.metric)),
        "current": {
            "policy": summary.current.number,
            "id": summary.current.id,
            "value": interval_json(summary.current.metrics.get(summary.metric)),
            "difference": interval_json(summary.current.difference),
        },
        "policies": [
            {"policy": policy.number, **policy.model_dump(exclude={"number", "files"})} for policy in summary.policies
        ],
        "by_round": [_round(record) for record in summary.rounds],
        "people": [record.model_dump(mode="json", exclude={"layout"}) for record in summary.people],
        "last_event": summary.last_event,
        "missing": list(summary.missing),
    }


def _round(record: RoundRecord) -> dict[str, Any]:
    pairs, gathered = record.stages.pairs, record.gathered
    return {
        "round": record.round,
        "phase": record.phase,
        "objective": record.objective,
        "learned": None if gathered is None else {"unit": gathered.unit, "count": gathered.units},
        "left_out": record.stages.gather.left_out if record.stages.gather else {},
        "done": list(record.done),
        "left": list(record.left),
        "pairs": pairs.pairs if pairs else None,
        "comparisons": pairs.by_status if pairs else {},
        "error_share": error_share(pairs.by_status) if pairs else None,
        "below_margin": pairs.below_margin if pairs else None,
        "truncated": pairs.truncated if pairs else None,
        "pairs_by_judge": pairs.by_judge if pairs else {},
        "decided_by_people": pairs.by_people if pairs else {},
        "pairs_of_preferences": pairs.preferences if pairs else None,
    }
