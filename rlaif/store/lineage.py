"""Where a preference pair came from: its prompt, candidates, policy, verdicts and decision, and what it trained.

Invariant: only what the store holds is told. A part whose file is gone is None and named in `missing`. Of the tables,
only the row groups that can hold the pair's prompt are read, and reading ends with the shard that holds it.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rlaif.errors import UserError
from rlaif.io.files import filesystem, join, names, read_json
from rlaif.store.rundir import RoundDir, RunDir

_NAMED = 5
_LEAST_LIKENESS = 3


@dataclass(frozen=True, slots=True)
class TracedQuestion:
    """The question of a pair.

    Attributes:
        id: of the prompt.
        messages: the chat that the policy was asked, `{"role", "content"}` each.
        tokens: length of the encoded chat.
        question, context, reference, doc_link: as the run read them; None where its questions are gone.
    """

    id: str
    messages: list[dict[str, str]]
    tokens: int
    question: str | None
    context: str | None
    reference: str | None
    doc_link: str | None


@dataclass(frozen=True, slots=True)
class TracedCandidate:
    """One of the two answers.

    Attributes:
        index: of the candidate in its prompt.
        text: the answer.
        tokens: its length.
        logprob: sum of its tokens' log-probabilities under the policy that sampled it, in nats.
        finish_reason, seed: as sampled; None where the candidates' shards are gone.
    """

    index: int
    text: str
    tokens: int
    logprob: float
    finish_reason: str | None
    seed: int | None


@dataclass(frozen=True, slots=True)
class TracedPolicy:
    """The policy that sampled the pair.

    Attributes:
        id: sha256 of its weights.
        kind: `base` is the initial model, `lora` an adapter on it, `full` new weights; None if the run knows no
            policy by that id.
        model: the initial model.
        round: the round that trained it; None for the initial one.
        files: sha256 of each file of its weights; empty for the initial one, whose id is that of all.
    """

    id: str
    kind: str | None
    model: str | None
    round: int | None
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TracedVerdict:
    """One raw verdict on the two answers, or on one of them.

    Attributes:
        judge, judge_sha, prompt_sha: who gave it, and the sha256 of its file and prompt.
        first, second: the candidates it speaks of; `second` is None where one was rated alone.
        order: `ab` showed `first` first, `ba` showed `second` first, `single` showed one.
        status: `ok`, `tie`, `unparsed` or `error`.
        preference: P(first is better), for an `ok` on two.
        score: the rating of `first`, for an `ok` on one.
        prefers: which answer of the pair an `ok` on two prefers.
        text: what the judge said, word for word.
        prompt_tokens, completion_tokens, seconds: what it cost.
    """

    judge: str
    judge_sha: str
    prompt_sha: str
    first: int
    second: int | None
    order: str
    status: str
    preference: float | None
    score: float | None
    prefers: Literal["chosen", "rejected"] | None
    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TracedDecision:
    """What made the one answer chosen.

    Attributes:
        source: `ai` or `human`.
        margin: of the decision.
        judge, judge_sha: who decided, and the sha256 of its file.
        prompt, prompt_sha: the judge's prompt file, by name and sha256; None for a judge without one.
        model: the model it asks; None for a judge without one.
        score_chosen, score_rejected: its ratings, where it rates.
    """

    source: str
    margin: float | None
    judge: str
    judge_sha: str
    prompt: str | None
    prompt_sha: str | None
    model: str | None
    score_chosen: float | None
    score_rejected: float | None


@dataclass(frozen=True, slots=True)
class TracedTraining:
    """What was learned from the pair.

    Attributes:
        round: the pair's round, in which it is trained.
        policy: id of the policy that learned from it; None while none has.
        steps: of that training.
        promoted: whether that policy became the current one; None while undecided.
        metric, before, after: what the gate compared: the current policy's value, and the trained one's.
    """

    round: int
    policy: str | None
    steps: int | None
    promoted: bool | None
    metric: str | None
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """A pair's whole provenance.

    Attributes:
        run: path or URL of the run.
        pair_id: the whole id.
        missing: what could not be told, one line each.
    """

    run: str
    pair_id: str
    prompt: TracedQuestion
    chosen: TracedCandidate
    rejected: TracedCandidate
    policy: TracedPolicy
    verdicts: tuple[TracedVerdict, ...]
    decision: TracedDecision
    training: TracedTraining
    missing: tuple[str, ...]


def trace_pair(run: RunDir, pair_id: str) -> Lineage:
    """Return a pair's provenance.

    Args:
        run: the run.
        pair_id: the pair's id, or the beginning of one that no other pair shares.

    Raises:
        UserError: no pair, or several; the message says which are near or how many there are.
    """
    directory, row = _find_pair(run, pair_id)
    identity = read_json(run.path("run.json")) or {}
    missing: list[str] = []
    prompt_id = row["prompt_id"]
    asked = next(_rows(run.path("prompts", "train.parquet"), prompt_id), None)
    if asked is None:
        missing.append("prompts/train.parquet: the question as it was read")
    candidates = {entry["candidate"]: entry for entry in _from_shards(directory, "candidates", prompt_id)}
    chosen = _candidate(row, "chosen", candidates)
    rejected = _candidate(row, "rejected", candidates)
    if not {chosen.index, rejected.index} <= candidates.keys():
        missing.append(f"round {directory.number}: the candidates' shard: seeds and finish reasons")
    verdicts = tuple(
        _verdict(entry, chosen.index, rejected.index)
        for entry in _from_shards(directory, "verdicts", prompt_id)
        if {entry["first"], entry["second"]} - {None} <= {chosen.index, rejected.index}
    )
    if not verdicts and row["source"] == "ai":
        missing.append(f"round {directory.number}: the verdicts' shard")
    policy = _policy(run, directory, row["policy"], identity)
    if policy.kind is None:
        missing.append(f"policy.json of the policy that sampled the pair ({policy.id})")
    training = _training(directory)
    if training.policy is None:
        missing.append(f"round {directory.number}: not trained")
    elif training.promoted is None:
        missing.append(f"round {directory.number}: not evaluated or promoted yet")
    return Lineage(
        run=run.place,
        pair_id=row["pair_id"],
        prompt=TracedQuestion(
            id=prompt_id,
            messages=row["prompt"],
            tokens=len(row["prompt_token_ids"]),
            **{name: asked[name] if asked else None for name in ("question", "context", "reference", "doc_link")},
        ),
        chosen=chosen,
        rejected=rejected,
        policy=policy,
        verdicts=verdicts,
        decision=_decision(row, verdicts, identity),
        training=training,
        missing=tuple(missing),
    )


def _find_pair(run: RunDir, pair_id: str) -> tuple[RoundDir, dict[str, Any]]:
    found: list[tuple[RoundDir, str]] = []
    known: list[str] = []
    for directory in run.rounds():
        if "pairs.parquet" not in names(directory.place):
            continue
        column = _read(directory.path("pairs.parquet"), ["pair_id"])["pair_id"]
        found += [(directory, whole) for whole in column.filter(pc.starts_with(column, pattern=pair_id)).to_pylist()]
        known += column.to_pylist()
    exact = [entry for entry in found if entry[1] == pair_id]
    if len(found) != 1 and not exact:
        raise UserError(f"{run.place}: {_no_such_pair(pair_id, known, [whole for _, whole in found])}")
    directory, whole = (exact or found)[0]
    rows = _read(directory.path("pairs.parquet"), filters=[("pair_id", "==", whole)]).to_pylist()
    return directory, rows[0]


def _no_such_pair(pair_id: str, known: list[str], found: list[str]) -> str:
    if not known:
        return f"no pair {pair_id}: no round has pairs yet"
    if found:
        some = ", ".join(sorted(found)[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
        return f"{len(found)} pairs begin with {pair_id!r}: {some}; expected more of the id"
    ordered = sorted(known)
    place = bisect_left(ordered, pair_id)
    # The longest common beginning stands beside where the id would: an id is mistyped or cut, not rearranged.
    near = max(ordered[max(place - 1, 0) : place + 1], key=lambda other: _shared(pair_id, other))
    alike = _shared(pair_id, near) >= _LEAST_LIKENESS
    hint = f"the closest is {near}" if alike else f"an id looks like {near}"
    return f"no pair {pair_id} among {len(known)} pairs; {hint}"


def _shared(one: str, other: str) -> int:
    """Return how many letters two ids begin with in common."""
    return sum(1 for _ in takewhile(lambda letters: letters[0] == letters[1], zip(one, other, strict=False)))


def _read(place: str, columns: list[str] | None = None, filters: list[tuple[str, str, str]] | None = None) -> pa.Table:
    system, path = filesystem(place)
    with system.open(path, "rb") as file:
        return pq.read_table(file, columns=columns, filters=filters)


def _rows(place: str, prompt_id: str, key: str = "id") -> Iterator[dict[str, Any]]:
    try:
        yield from _read(place, filters=[(key, "==", prompt_id)]).to_pylist()
    except FileNotFoundError:
        return


def _from_shards(directory: RoundDir, table: str, prompt_id: str) -> list[dict[str, Any]]:
    """Return a prompt's rows of a table: a shard holds all of them, so the first with any is the only one."""
    folder = directory.path(table)
    for name in names(folder, ".parquet"):
        if rows := list(_rows(join(folder, name), prompt_id, "prompt_id")):
            return rows
    return []


def _candidate(
    row: Mapping[str, Any], side: Literal["chosen", "rejected"], candidates: Mapping[int, Mapping[str, Any]]
) -> TracedCandidate:
    index = row[f"{side}_candidate"]
    sampled = candidates.get(index, {})
    return TracedCandidate(
        index=index,
        text=sampled["text"] if sampled else "".join(message["content"] for message in row[side]),
        tokens=len(row[f"{side}_token_ids"]),
        logprob=row[f"ref_{side}_logp"] if not sampled else sum(sampled["logprobs"]),
        finish_reason=sampled.get("finish_reason"),
        seed=sampled.get("seed"),
    )


def _verdict(row: Mapping[str, Any], chosen: int, rejected: int) -> TracedVerdict:
    prefers: Literal["chosen", "rejected"] | None = None
    if row["preference"] is not None and row["second"] is not None and row["preference"] != 0.5:
        winner = row["first"] if row["preference"] > 0.5 else row["second"]
        prefers = "chosen" if winner == chosen else "rejected"
    names_ = [name for name in TracedVerdict.__dataclass_fields__ if name != "prefers"]
    return TracedVerdict(**{name: row[name] for name in names_}, prefers=prefers)


def _policy(run: RunDir, directory: RoundDir, policy_id: str, identity: Mapping[str, Any]) -> TracedPolicy:
    initial = identity.get("policy") or {}
    if policy_id == initial.get("id"):
        return TracedPolicy(policy_id, "base", initial.get("model"), None, {})
    for earlier in reversed([entry for entry in run.rounds() if entry.number < directory.number]):
        trained = read_json(earlier.path("policy.json")) or {}
        if trained.get("id") == policy_id:
            return TracedPolicy(
                policy_id, trained.get("kind"), initial.get("model"), earlier.number, trained.get("files") or {}
            )
    return TracedPolicy(policy_id, None, None, None, {})


def _decision(
    row: Mapping[str, Any], verdicts: tuple[TracedVerdict, ...], identity: Mapping[str, Any]
) -> TracedDecision:
    judge = _judge_of(identity.get("judge") or {}, row["judge_sha"]) or {}
    prompts = [entry.prompt_sha for entry in verdicts if entry.judge_sha == row["judge_sha"] and entry.prompt_sha]
    return TracedDecision(
        source=row["source"],
        margin=row["margin"],
        judge=row["judge"],
        judge_sha=row["judge_sha"],
        prompt=judge.get("prompt"),
        prompt_sha=prompts[0] if prompts else judge.get("prompt_sha"),
        model=judge.get("model"),
        score_chosen=row["score_chosen"],
        score_rejected=row["score_rejected"],
    )


def _judge_of(judge: Mapping[str, Any], sha: str) -> Mapping[str, Any] | None:
    """Return the description of the judge, or of the panel's member, that has a sha256."""
    if judge.get("sha") == sha:
        return judge
    members = (_judge_of(member, sha) for member in judge.get("members") or [])
    return next((found for found in members if found is not None), None)


def _training(directory: RoundDir) -> TracedTraining:
    trained = read_json(directory.path("policy.json")) or {}
    stages = directory.manifest()["stages"]
    gate = (read_json(directory.path("evaluation.json")) or {}).get("gate") or {}
    promote = stages.get("promote")
    return TracedTraining(
        round=directory.number,
        policy=trained.get("id"),
        steps=stages.get("train", {}).get("steps"),
        promoted=None if promote is None else bool(promote.get("promoted")),
        metric=gate.get("metric"),
        before=gate.get("before"),
        after=gate.get("after"),
    )
