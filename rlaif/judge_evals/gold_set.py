"""The gold set of a run: comparisons that people decided, judged before each round samples.

Invariant: a round is neither sampled nor trained on if its judge agrees with people on a smaller share of the gold set
than the recipe requires. A round never asks an answered label again; it asks again where the judge failed.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from rlaif.data.criteria import criteria_tree
from rlaif.data.gold_answer import shown_gold_answer
from rlaif.data.labels import Label, load_labels
from rlaif.data.question import chat_tree
from rlaif.errors import UserError, WorkError
from rlaif.io.column_names import ColumnNames
from rlaif.judge_evals.judging import IN_FLIGHT, JudgedLabel, decide_label, judge_labels
from rlaif.judges.judge import Judge, stored_verdict
from rlaif.progress import Progress
from rlaif.recipe import GoldSetSection
from rlaif.store.events import Emit, GoldSetJudged
from rlaif.store.records.round_records import GoldSetDisagreement, GoldSetRecord
from rlaif.store.rundir import RoundDir
from rlaif.store.schemas import VERDICTS
from rlaif.store.shards import ShardTable

GOLD_SET_FILE = "gold_set.json"
GOLD_SET_TABLE = "gold_set"
_LABELS_PER_SHARD = 16
_DISAGREEMENTS_NAMED = 20


def load_gold_set(section: GoldSetSection | None) -> tuple[Label, ...]:
    """Return the labels of the gold set on which people prefer one answer; none without a section.

    Raises:
        UserError: the file is not a label file, or has no such label.
    """
    if section is None:
        return ()
    columns = ColumnNames(section.columns, "judge.gold_set.columns")
    labels = tuple(label for label in load_labels(section.path, section.limit, columns) if label.human != "tie")
    if not labels:
        raise UserError(f"{section.path}: people see a tie in every label; a gold set needs labels that prefer one")
    return labels


async def judge_gold_set(
    judge: Judge,
    labels: Sequence[Label],
    directory: RoundDir,
    min_agreement: float,
    *,
    progress: Progress,
    emit: Emit,
    in_flight: int = IN_FLIGHT,
) -> GoldSetRecord:
    """Judge the labels that this round has not judged yet, and compare all of them with people.

    The round's `gold_set/` takes the verdicts, `gold_set.json` the result, and `emit` a `GoldSetJudged`.

    Raises:
        WorkError: too few labels agree, or the judge cannot go on.
    """
    table = ShardTable(directory.path(GOLD_SET_TABLE), VERDICTS)
    judged = _stored(judge, labels, table)
    progress.stage(f"round {directory.number}: gold set", len(labels), len(judged))
    by_key = {stored_id(label): label for label in labels if label.id not in judged}
    rows: list[dict[str, Any]] = []

    def keep(item: JudgedLabel) -> None:
        label = by_key[item.label.id]
        judged[label.id] = replace(item, label=label)
        if item.outcome != "error":
            rows.extend(asdict(verdict) for verdict in item.verdicts)
        if len(judged) % _LABELS_PER_SHARD == 0:
            commit()
        progress.advance(1, agreed=str(sum(found.right for found in judged.values())))

    def commit() -> None:
        table.append(rows)
        rows.clear()

    try:
        await judge_labels(judge, [_keyed(label) for label in by_key.values()], keep, in_flight)
    finally:
        commit()
    result = _result(judge, [judged[label.id] for label in labels], directory, min_agreement)
    result.write(directory.path(GOLD_SET_FILE))
    counts = result.model_dump(include={"round", "agreed", "labels", "min_agreement"})
    emit(GoldSetJudged(**counts, agreement=round(result.agreement, 4)))
    _require_passed(result, directory)
    progress.say(result.summary)
    return result


def check_stored(judge: Judge, labels: Sequence[Label], directory: RoundDir, min_agreement: float) -> None:
    """Stop a round before its engines start, if all its labels are judged already and too few of them agree.

    Raises:
        WorkError: as `judge_gold_set`.
    """
    judged = _stored(judge, labels, ShardTable(directory.path(GOLD_SET_TABLE), VERDICTS))
    if labels and len(judged) == len(labels):
        _require_passed(_result(judge, [judged[label.id] for label in labels], directory, min_agreement), directory)


def stored_id(label: Label) -> str:
    """Return a label's id with a hash of all that the judge is shown, so that a changed label counts as new."""
    shown = [label.question, label.context, shown_gold_answer(label.gold_answer), *label.answers]
    if label.messages:
        shown.append(json.dumps(chat_tree(label.messages)))
    if label.criteria:
        shown.append(json.dumps(criteria_tree(label.criteria)))
    return f"{label.id}@{hashlib.sha256(chr(0).join(shown).encode()).hexdigest()[:12]}"


def _keyed(label: Label) -> Label:
    return label.model_copy(update={"id": stored_id(label)})


def _stored(judge: Judge, labels: Sequence[Label], table: ShardTable) -> dict[str, JudgedLabel]:
    stored = {key: [stored_verdict(row) for row in rows] for key, rows in table.by_prompt()}
    found = {}
    for label in labels:
        keyed = _keyed(label)
        if verdicts := stored.get(keyed.id):
            found[label.id] = replace(decide_label(judge, keyed, verdicts), label=label)
    return found


def _result(judge: Judge, judged: Sequence[JudgedLabel], directory: RoundDir, min_agreement: float) -> GoldSetRecord:
    return GoldSetRecord(
        round=directory.number,
        judge=judge.name,
        labels=len(judged),
        agreed=sum(item.right for item in judged),
        by_outcome=dict(sorted(Counter(item.outcome for item in judged).items())),
        min_agreement=min_agreement,
        disagreeing=tuple(_disagreement(item) for item in judged if not item.right),
    )


def _disagreement(item: JudgedLabel) -> GoldSetDisagreement:
    errors = [verdict.text for verdict in item.verdicts if verdict.status == "error" and item.outcome == "error"]
    return GoldSetDisagreement(
        id=item.label.id, people=item.label.human, judge=item.side or item.outcome, reason=next(iter(errors), "")
    )


def _require_passed(result: GoldSetRecord, directory: RoundDir) -> None:
    if result.passed:
        return
    named = [f"{item.id} (people {item.people}, judge {item.judge})" for item in result.disagreeing]
    more = len(named) - _DISAGREEMENTS_NAMED
    raise WorkError(
        f"{result.summary} (judge.gold_set.min_agreement). Nothing was sampled or trained on. It disagrees on "
        f"{', '.join(named[:_DISAGREEMENTS_NAMED])}{f' and {more} more' if more > 0 else ''}: "
        f"see {directory.path(GOLD_SET_FILE)}"
    )
