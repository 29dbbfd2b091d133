"""Finds a preference pair by its id, and traces it through the files of its run.

Invariant: nothing is inferred. A fact whose file is gone is None, and the file is named in `missing`. Only the row
groups that can hold the pair's question are read, and reading ends with the shard that holds it.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import takewhile
from typing import Any, Literal

from rlaif.data.criteria import Mark
from rlaif.errors import UserError
from rlaif.io.files import join, names
from rlaif.store import lineage
from rlaif.store.records.documents_record import DocumentsRecord
from rlaif.store.records.round_records import EvaluationRecord, PolicyRecord
from rlaif.store.records.run_records import RunRecord
from rlaif.store.rundir import RoundDir, RunDir
from rlaif.store.shards import read_table

_NAMED = 5
_LEAST_LIKENESS = 3


def trace_pair(run: RunDir, pair_id: str) -> lineage.Lineage:
    """Return the provenance of a pair, given by its id or a beginning that no other pair shares.

    Raises:
        UserError: no pair has the id, or several do; the message names the closest ids.
    """
    directory, row = _find_pair(run, pair_id)
    record = run.record()
    prompt_id = row["prompt_id"]
    asked = next(iter(_rows(run.path("prompts", "train.parquet"), prompt_id, "id")), None)
    candidates = {entry["candidate"]: entry for entry in _from_shards(directory, "candidates", prompt_id)}
    chosen = _candidate(row, "chosen", candidates)
    rejected = _candidate(row, "rejected", candidates)
    indices = {chosen.index, rejected.index}
    verdicts = tuple(
        _verdict(entry, chosen.index)
        for entry in _from_shards(directory, "verdicts", prompt_id)
        if {entry["first"], entry["second"]} - {None} <= indices
    )
    policy = _policy(run, directory, row["policy"], record)
    training = traced_training(directory)
    in_round = f"round {directory.number}"
    chunks = traced_chunks(run, prompt_id, row.get("chunks"))
    # A pair of people's own preferences has no candidate of the run.
    sampled = chosen.index is not None
    missing = {
        "prompts/train.parquet: the question as it was read": sampled and asked is None,
        "prompts/contexts.parquet: where the chunks are": any(chunk.document is None for chunk in chunks),
        f"{in_round}: the candidates' shard: seeds and finish reasons": sampled and not indices <= candidates.keys(),
        f"{in_round}: the verdicts' shard": not verdicts and row["source"] == "ai",
        f"policy.json of the policy that sampled the pair ({policy.id})": sampled and policy.kind is None,
        f"{in_round}: not trained": training.policy is None,
        f"{in_round}: not evaluated or promoted yet": training.policy is not None and training.promoted is None,
    }
    return lineage.Lineage(
        run=run.root,
        pair_id=row["pair_id"],
        prompt=lineage.TracedQuestion(
            id=prompt_id,
            messages=row["prompt"],
            tokens=len(row["prompt_token_ids"]),
            **{name: asked[name] if asked else None for name in ("question", "context", "reference", "doc_link")},
            chunks=chunks,
            withheld=is_withheld(run, prompt_id, row.get("chunks")),
        ),
        chosen=chosen,
        rejected=rejected,
        policy=policy,
        verdicts=verdicts,
        decision=_decision(row, verdicts, record),
        training=training,
        missing=tuple(line for line, absent in missing.items() if absent),
    )


def traced_chunks(run: RunDir, question_id: str, chunks: Sequence[str] | None) -> tuple[lineage.TracedChunk, ...]:
    """Return the chunks that a row of a train question names, with where they are."""
    if not chunks:
        return ()
    stored = _rows(run.path("prompts", "contexts.parquet"), question_id, "question_id")
    known = {row["chunk"]: row for row in stored if row["set"] == "train"}
    return tuple(
        lineage.TracedChunk(
            id_, rank=rank,
            **{name: known.get(id_, {}).get(name) for name in ("document", "sha256", "page", "score")},
        )
        for rank, id_ in enumerate(chunks, start=1)
    )  # fmt: skip


def is_withheld(run: RunDir, question_id: str, chunks: Sequence[str] | None) -> bool:
    """Return whether the evidence of a train question was left out of the chunks that it was asked with."""
    record = DocumentsRecord.read(run.path("prompts", "documents.json")) if chunks else None
    return record is not None and "train" in record.sets and question_id in record.sets["train"].withheld


def _find_pair(run: RunDir, pair_id: str) -> tuple[RoundDir, dict[str, Any]]:
    """Return the round of a pair and its row of `pairs.parquet`."""
    known: list[tuple[RoundDir, str]] = []
    for directory in run.rounds():
        if "pairs.parquet" in names(directory.root):
            column = read_table(directory.path("pairs.parquet"), ["pair_id"])["pair_id"]
            known += [(directory, whole) for whole in column.to_pylist()]
    found = [entry for entry in known if entry[1].startswith(pair_id)]
    exact = [entry for entry in found if entry[1] == pair_id]
    if len(found) != 1 and not exact:
        message = _no_such_pair(pair_id, [whole for _, whole in known], [whole for _, whole in found])
        raise UserError(f"{run.root}: {message}")
    directory, whole = (exact or found)[0]
    rows = read_table(directory.path("pairs.parquet"), filters=[("pair_id", "==", whole)]).to_pylist()
    return directory, rows[0]


def _no_such_pair(pair_id: str, known: list[str], found: list[str]) -> str:
    if not known:
        return f"no pair, demonstration, rating or rollout {pair_id}; no round has pairs yet"
    if found:
        some = ", ".join(sorted(found)[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
        return f"{len(found)} pairs begin with {pair_id!r}: {some}; expected more of the id"
    ordered = sorted(known)
    position = bisect_left(ordered, pair_id)

    def likeness(other: str) -> int:
        return sum(1 for _ in takewhile(lambda letters: letters[0] == letters[1], zip(pair_id, other, strict=False)))

    # In sorted order, the id with the longest common beginning is a neighbour of the position of the id itself.
    near = max(ordered[max(position - 1, 0) : position + 1], key=likeness)
    hint = f"the closest is {near}" if likeness(near) >= _LEAST_LIKENESS else f"an id looks like {near}"
    return f"no pair {pair_id} among {len(known)} pairs; {hint}"


def _rows(path: str, prompt_id: str, key: str) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = read_table(path, filters=[(key, "==", prompt_id)]).to_pylist()
    except FileNotFoundError:
        return []
    return rows


def _from_shards(directory: RoundDir, table: str, prompt_id: str) -> list[dict[str, Any]]:
    """Return a question's rows of a table. One shard holds all of them, so reading ends with the first that has any."""
    folder = directory.path(table)
    for name in names(folder, ".parquet"):
        if rows := _rows(join(folder, name), prompt_id, "prompt_id"):
            return rows
    return []


def _candidate(
    row: Mapping[str, Any], side: Literal["chosen", "rejected"], candidates: Mapping[int, Mapping[str, Any]]
) -> lineage.TracedCandidate:
    index = row[f"{side}_candidate"]
    sampled = candidates.get(index, {})
    return lineage.TracedCandidate(
        index=index,
        text=sampled["text"] if sampled else "".join(message["content"] for message in row[side]),
        tokens=len(row[f"{side}_token_ids"]),
        logprob=sum(sampled["logprobs"]) if sampled else row[f"ref_{side}_logp"],
        finish_reason=sampled.get("finish_reason"),
        seed=sampled.get("seed"),
    )


def _verdict(row: Mapping[str, Any], chosen: int | None) -> lineage.TracedVerdict:
    prefers: Literal["chosen", "rejected"] | None = None
    if row["preference"] is not None and row["second"] is not None and row["preference"] != 0.5:
        winner = row["first"] if row["preference"] > 0.5 else row["second"]
        prefers = "chosen" if winner == chosen else "rejected"
    columns = [field.name for field in fields(lineage.TracedVerdict) if field.name not in ("prefers", "marks")]
    marks = tuple(Mark(**mark) for mark in row.get("marks") or ())
    return lineage.TracedVerdict(**{name: row[name] for name in columns}, prefers=prefers, marks=marks)


def _policy(run: RunDir, directory: RoundDir, policy_id: str | None, record: RunRecord | None) -> lineage.TracedPolicy:
    model = record.policy.model if record else None
    if record and policy_id == record.policy.id:
        return lineage.TracedPolicy(policy_id, "base", model, None, {})
    for earlier in reversed([entry for entry in run.rounds() if entry.number < directory.number]):
        trained = PolicyRecord.read(earlier.path("policy.json"))
        if trained is not None and trained.id == policy_id:
            return lineage.TracedPolicy(policy_id, trained.kind, model, earlier.number, trained.files)
    return lineage.TracedPolicy(policy_id, None, None, None, {})


def _decision(
    row: Mapping[str, Any], verdicts: tuple[lineage.TracedVerdict, ...], record: RunRecord | None
) -> lineage.TracedDecision:
    walked = [each for judge in record.judges for _, each in judge.walk()] if record else []
    # A reward model that the run has trained anew has other weights, and so another sha256, than in `run.json`.
    named = [each for each in walked if each.name == row["judge"]]
    judge = next((each for each in walked if each.sha == row["judge_sha"]), named[0] if named else None)
    template_shas = [entry.prompt_sha for entry in verdicts if entry.judge_sha == row["judge_sha"] and entry.prompt_sha]
    return lineage.TracedDecision(
        **{name: row[name] for name in ("source", "margin", "judge", "judge_sha", "score_chosen", "score_rejected")},
        labelled_by=tuple(row.get("labelled_by") or ()),
        prompt=judge.prompt if judge else None,
        prompt_sha=template_shas[0] if template_shas else judge.prompt_sha if judge else None,
        model=judge.model if judge else None,
    )


def verdicts_on(directory: RoundDir, row: Mapping[str, Any]) -> tuple[lineage.TracedVerdict, ...]:
    """Return a round's verdicts on one candidate, alone or beside others; none where the row is no candidate's."""
    if row.get("candidate") is None:
        return ()
    stored = _from_shards(directory, "verdicts", row["prompt_id"])
    return tuple(
        _verdict(entry, row["candidate"]) for entry in stored if row["candidate"] in (entry["first"], entry["second"])
    )


def traced_training(directory: RoundDir) -> lineage.TracedTraining:
    """Return what a round trained, and what came of it."""
    trained = PolicyRecord.read(directory.path("policy.json"))
    measured = EvaluationRecord.read(directory.path("evaluation.json"))
    record = directory.record()
    gate = measured.gate if measured else None
    return lineage.TracedTraining(
        round=directory.number,
        policy=trained.id if trained else None,
        steps=record.stages.train.steps if record.stages.train else None,
        promoted=record.promoted,
        metric=gate.metric if gate else None,
        before=gate.before if gate else None,
        after=gate.after if gate else None,
        gate=gate.change if gate else None,
    )
