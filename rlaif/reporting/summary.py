"""How a run stands, read from its small JSON files alone: the policies it made, how good they are, what is missing.

Invariant: reading writes nothing and waits for no stage. What is not there is None and is named in `missing`; it is
never a zero, so an unfinished or killed run reads as what it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import yaml

from rlaif.errors import UserError
from rlaif.stats.bootstrap import Estimate
from rlaif.store.rundir import STAGES, RoundDir, RunDir
from rlaif.store.runs import load_json


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate compared and said; see `rlaif.rounds.gate.GateResult`."""

    metric: str
    before: float | None
    after: float | None
    max_drop: float
    passed: bool


@dataclass(frozen=True, slots=True)
class PolicyState:
    """One policy of a run.

    Attributes:
        number: 0 for the initial policy, k for the one that round k - 1 trained.
        id: sha256 of its weights; None where it is not trained (yet).
        kind: `base`, `lora` or `full`; None as above.
        parent: id of the policy that it was trained from.
        files: sha256 of each file of its weights.
        questions: held-out questions that it was measured on; None before that.
        failed: those of them that could not be answered.
        metrics: means over the held-out questions by name: score, exact, f1, win_rate, length, kl.
        difference: its score minus the initial policy's, question by question.
        gate: what decided on its promotion.
        promoted: None while undecided.
        note: why there is no such policy, or "".
    """

    number: int
    id: str | None
    kind: str | None
    parent: str | None
    files: Mapping[str, str]
    questions: int | None
    failed: int
    metrics: Mapping[str, Estimate]
    difference: Estimate | None
    gate: Gate | None
    promoted: bool | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class RoundState:
    """How far a round has come.

    Attributes:
        number: of the round.
        done: its stages that are done, with what each counted.
        left: its stages that are not.
        sampled_by: id of the policy that sampled it; None before that.
    """

    number: int
    done: Mapping[str, Mapping[str, Any]]
    left: tuple[str, ...]
    sampled_by: str | None

    @property
    def pairs(self) -> int | None:
        """Preference pairs of the round, or None before they are made."""
        counted = self.done.get("pairs")
        return None if counted is None else int(counted.get("pairs", 0))

    def counts(self, stage: str, name: str) -> dict[str, int]:
        """Return a table of counts of a stage, such as the comparisons `by_status`; empty where there is none."""
        return {str(key): int(value) for key, value in (self.done.get(stage, {}).get(name) or {}).items()}


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run stands.

    Attributes:
        place: path or URL.
        identity: `run.json`.
        recipe: the resolved recipe as plain values; empty where it is missing.
        state: `running`, `finished`, `stopped`, `interrupted`, `failed`, or `killed`: it says that it runs, but no
            process holds its lock (known only of runs on a file system).
        reason: why it stopped or failed, or None.
        policies: the initial policy, then one for each round that has begun.
        rounds: those that have begun.
        last_event: time of the last event, ISO 8601, or None.
        missing: what is not there yet, one line each.
    """

    place: str
    identity: Mapping[str, Any]
    recipe: Mapping[str, Any]
    state: str
    reason: str | None
    policies: tuple[PolicyState, ...]
    rounds: tuple[RoundState, ...]
    last_event: str | None
    missing: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the run."""
        return str(self.identity.get("name") or self.place.rsplit("/", 1)[-1])

    @property
    def planned(self) -> int:
        """Rounds that the recipe asks for; at least those that have begun."""
        return max(int((self.recipe.get("rounds") or {}).get("count", 0)), len(self.rounds))

    @property
    def rounds_done(self) -> int:
        """Rounds of which nothing is left to do."""
        return sum(not state.left for state in self.rounds)

    @property
    def pairs(self) -> int:
        """Preference pairs of all rounds so far."""
        return sum(state.pairs or 0 for state in self.rounds)

    @property
    def confidence(self) -> float:
        """Level of the intervals."""
        return float((self.recipe.get("evaluation") or {}).get("confidence", 0.95))

    @property
    def initial(self) -> PolicyState:
        """The policy that the run started from."""
        return self.policies[0]

    @property
    def current(self) -> PolicyState:
        """The policy that was promoted last, else the initial one."""
        promoted = [policy for policy in self.policies[1:] if policy.promoted and policy.id is not None]
        return promoted[-1] if promoted else self.initial

    @property
    def metric(self) -> str:
        """What the policies are compared by: the score, or where no question has a reference, the win rate."""
        known = [policy for policy in self.policies if policy.questions is not None]
        return "score" if not known or any("score" in policy.metrics for policy in known) else "win_rate"


def summarize(run: RunDir) -> RunSummary:
    """Read how a run stands.

    Raises:
        UserError: there is no run, or one of its files is broken.
    """
    identity = load_json(run.path("run.json"))
    if not isinstance(identity, dict):
        raise UserError(f"{run.place}: no run there; expected a folder with a run.json")
    text = run.recipe_text()
    recipe = yaml.safe_load(text) if text else None
    directories = run.rounds()
    rounds = tuple(_round_state(directory) for directory in directories)
    policies = (
        _initial_policy(run, identity),
        *(_trained_policy(directory, state) for directory, state in zip(directories, rounds, strict=True)),
    )
    events = run.events.read()
    state = _state(run, str(identity.get("state", "running")))
    reasons = [getattr(event, "reason", None) for event in events if event.event == state]
    summary = RunSummary(
        place=run.place,
        identity=identity,
        recipe=recipe if isinstance(recipe, dict) else {},
        state=state,
        reason=reasons[-1] if reasons and reasons[-1] else None,
        policies=policies,
        rounds=rounds,
        last_event=events[-1].time if events else None,
    )
    return _with_missing(summary)


def _state(run: RunDir, recorded: str) -> str:
    """Return the recorded state, or `killed` where a run that says it runs has no process any more."""
    if recorded != "running" or not run.local:
        return recorded
    import fcntl

    try:
        with open(run.path(".lock"), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return "killed"
    except OSError:
        # Held by the driver; or a file system without locks, which cannot tell.
        return "running"
    return "killed"


def _round_state(directory: RoundDir) -> RoundState:
    manifest = load_json(directory.path("manifest.json")) or {}
    done = manifest.get("stages") or {}
    # A round without pairs trains and evaluates nothing, so the last stage alone says that a round is over.
    left = () if "promote" in done else tuple(stage for stage in STAGES if stage not in done)
    return RoundState(directory.number, done, left, manifest.get("policy"))


def _initial_policy(run: RunDir, identity: Mapping[str, Any]) -> PolicyState:
    measured = load_json(run.path("initial", "evaluation.json"))
    model = identity.get("policy") or {}
    return _policy_state(0, {"id": model.get("id"), "kind": "base"}, measured, True, "")


def _trained_policy(directory: RoundDir, state: RoundState) -> PolicyState:
    trained = load_json(directory.path("policy.json")) or {}
    measured = load_json(directory.path("evaluation.json"))
    promote = state.done.get("promote")
    promoted = None if promote is None else bool(promote.get("promoted"))
    note = ""
    if not trained:
        without_pairs = state.done.get("train", {}).get("reason") or (promote or {}).get("reason")
        note = f"nothing trained: {without_pairs}" if without_pairs else "not trained yet"
    elif measured is None:
        note = "not evaluated yet"
    return _policy_state(directory.number + 1, trained, measured, promoted, note)


def _policy_state(
    number: int, trained: Mapping[str, Any], measured: Mapping[str, Any] | None, promoted: bool | None, note: str
) -> PolicyState:
    found = measured or {}
    intervals = {name: interval(value) for name, value in (found.get("metrics") or {}).items()}
    gate = found.get("gate")
    return PolicyState(
        number=number,
        id=trained.get("id"),
        kind=trained.get("kind"),
        parent=trained.get("parent"),
        files=trained.get("files") or {},
        questions=None if measured is None else int(found.get("questions", 0)),
        failed=int(found.get("failed") or 0),
        metrics={name: value for name, value in intervals.items() if value is not None},
        difference=interval(found.get("difference")),
        gate=None if gate is None else Gate(**{field.name: gate.get(field.name) for field in fields(Gate)}),
        promoted=promoted,
        note=note,
    )


def interval(value: Mapping[str, Any] | None) -> Estimate | None:
    """Return an interval from its JSON; None for one of no values."""
    if not value or value.get("mean") is None:
        return None
    return Estimate(value["mean"], value.get("low"), value.get("high"), int(value.get("n", 0)))


def _with_missing(summary: RunSummary) -> RunSummary:
    lines = []
    if summary.initial.questions is None:
        lines.append("initial policy: evaluate")
    lines += [f"round {state.number}: {', '.join(state.left)}" for state in summary.rounds if state.left]
    begun = len(summary.rounds)
    if begun < summary.planned:
        last = summary.planned - 1
        lines.append(f"round {begun}: not begun" if begun == last else f"rounds {begun} to {last}: not begun")
    return replace(summary, missing=tuple(lines))
