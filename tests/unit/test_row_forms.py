"""Every reader of rows against every form in which people write them: the same rows are read from all."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlaif.data.candidates import CANDIDATE_FIELDS, read_candidates
from rlaif.data.demonstrations import DEMONSTRATION_FIELDS, read_demonstrations
from rlaif.data.label_conversion import CONVERTED_FIELDS, convert_labels
from rlaif.data.labels import LABEL_FIELDS, load_labels
from rlaif.data.preferences import PREFERENCE_FIELDS, read_preferences
from rlaif.data.question import Question
from rlaif.data.sources import QUESTION_FIELDS, load_questions
from rlaif.io.column_names import ColumnNames
from rlaif.recipe.questions import FileQuestions

Row = dict[str, Any]


def as_cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def delimited(rows: list[Row], delimiter: str, encoding: str) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows({name: as_cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue().encode(encoding)


def parquet(rows: list[Row]) -> bytes:
    """A column of values of several types holds lists, if one is a list, or else texts."""
    table: dict[str, Any] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if any(isinstance(value, list) for value in values):
            lists = [value if isinstance(value, list) else [] if value is None else [value] for value in values]
            values = [[str(item) for item in value] for value in lists]
        elif len({type(value) for value in values} - {type(None)}) > 1:
            values = [None if value is None else str(value) for value in values]
        table[name] = values
    out = io.BytesIO()
    pq.write_table(pa.table(table), out)
    return out.getvalue()


def jsonl(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


CONTAINERS: Mapping[str, Callable[[list[Row]], bytes]] = {
    "q.jsonl": jsonl,
    "null.ndjson": lambda rows: jsonl([{k: v for k, v in row.items() if v is not None} for row in rows]),
    "q.json": lambda rows: json.dumps(rows, indent=1, ensure_ascii=False).encode("utf-8-sig"),
    "wrapped.json": lambda rows: json.dumps({"version": "1", "rows": rows}).encode(),
    "q.csv": lambda rows: delimited(rows, ",", "utf-8"),
    "excel.csv": lambda rows: delimited(rows, ";", "utf-8-sig"),
    "q.tsv": lambda rows: delimited(rows, "\t", "utf-8"),
    "unicode.txt": lambda rows: delimited(rows, "\t", "utf-16"),
    "q.csv.gz": lambda rows: gzip.compress(delimited(rows, ",", "utf-8")),
    "q.parquet": parquet,
}
NAMES: Mapping[str, Callable[[str], str]] = {
    "own": str, "others": lambda field: f"my {field.upper()}, {field}",
}  # fmt: skip

# In a cell of CSV, a text that is a list or an object in JSON is one.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12).filter(
    lambda text: text.strip() == text and text[:1] not in "[{"
) | st.sampled_from(["nan", "None", "null", "0", "1,5", "1.234,5", "a;b", 'say "a"', "two\nlines", "ü\u2028ü"])
numbers = st.integers(-(10**12), 10**12) | st.sampled_from([0, 7.25, -0.5])
rows_of_questions = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(0, 10**9) | texts,
            "question": texts,
            "context": st.none() | texts | st.lists(texts, min_size=1, max_size=3),
            "gold_answer": st.none() | texts | numbers | st.lists(texts, min_size=1, max_size=3),
            "answers": st.tuples(texts | numbers, texts | numbers).map(list),
        }
    ),
    min_size=1,
    max_size=3,
    unique_by=(lambda row: row["question"], lambda row: str(row["id"])),
)


def question(row: Row) -> Question:
    context, gold = row["context"], row["gold_answer"]
    return Question(
        str(row["id"]),
        row["question"],
        "\n\n".join(context) if isinstance(context, list) else context or "",
        None if gold is None else tuple(gold) if isinstance(gold, list) and len(gold) > 1 else str(
            gold[0] if isinstance(gold, list) else gold),
    )  # fmt: skip


def about(row: Row) -> Row:
    return {field: row[field] for field in ("id", "question", "context", "gold_answer")}


def labelled(row: Row) -> Row:
    return about(row) | {"answer_a": row["answers"][0], "answer_b": row["answers"][1], "human": "b", "note": 1}


def marked(row: Row) -> list[Row]:
    return [about(row) | {"answer": "right", "label": 1}, about(row) | {"answer": 0, "label": 0}]


def read_marks(path: str, columns: ColumnNames) -> list[Question]:
    # A label's id ends with the numbers of its two rows.
    return [
        Question(label.id.rpartition(":")[0], label.question, label.context, label.gold_answer)
        for label in convert_labels(path, columns=columns).labels
    ]


def preferred(row: Row) -> Row:
    return {"id": row["id"], "prompt": row["question"], "chosen": "right", "rejected": 0, "source": "a data set"}


def read_prompts(path: str, columns: ColumnNames) -> list[Question]:
    return [Question(found.id, str(found.prompt)) for found in read_preferences(path, columns).rows]


def demonstrated(row: Row) -> Row:
    return about(row) | {"gold_answer": 7 if row["gold_answer"] is None else row["gold_answer"]}


READERS: Mapping[str, tuple[Any, Callable[[Row], list[Row]], Callable[[str, ColumnNames], list[Question]]]] = {
    "predict": (QUESTION_FIELDS, lambda row: [about(row)], lambda path, columns: load_questions(
        FileQuestions(path=path), columns=columns)),
    "label": (CANDIDATE_FIELDS, lambda row: [about(row) | {"answers": row["answers"]}], lambda path, columns: [
        found.as_question for found in read_candidates(path, columns)]),
    "judge report": (LABEL_FIELDS, lambda row: [labelled(row)], lambda path, columns: [
        label.as_question for label in load_labels(path, columns=columns)]),
    "judge labels": (CONVERTED_FIELDS, marked, read_marks),
    "train": (PREFERENCE_FIELDS, lambda row: [preferred(row)], read_prompts),
    "train --objective sft": (DEMONSTRATION_FIELDS, lambda row: [demonstrated(row)], lambda path, columns: [
        cast(Question, found.prompt) for found in read_demonstrations(path, columns).rows]),
}  # fmt: skip
# What of a question the rows of a training hold.
HELD: Mapping[str, tuple[str, ...]] = {"train": (), "train --objective sft": ("context",)}


def held(row: Row, command: str) -> Question:
    whole = question(row)
    if command not in HELD:
        return whole
    return Question(whole.id, whole.question, **{name: getattr(whole, name) for name in HELD[command]})


@pytest.mark.parametrize("command", READERS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows_of_questions, container=st.sampled_from(sorted(CONTAINERS)), names=st.sampled_from(sorted(NAMES)))
def test_every_form_gives_the_same_questions(
    tmp_path: Path, command: str, rows: list[Row], container: str, names: str
) -> None:
    fields, written_rows, read = READERS[command]
    written = [row for asked in rows for row in written_rows(asked)]
    named = {field: NAMES[names](field) for field in written[0] if field in fields}
    path = tmp_path / container
    path.write_bytes(CONTAINERS[container]([{named.get(k, k): value for k, value in row.items()} for row in written]))
    # A column that is named must be there; JSON leaves out what is null.
    there = {field for row in written for field, value in row.items() if value is not None or "null" not in container}
    columns = ColumnNames({} if names == "own" else {field: named[field] for field in named if field in there})
    assert read(str(path), columns) == [held(row, command) for row in rows]


@pytest.mark.parametrize("fields", [fields for fields, *_ in READERS.values() if isinstance(fields, Mapping)])
def test_every_field_has_a_meaning(fields: Mapping[str, str]) -> None:
    assert all(meaning and not meaning.startswith("None") for meaning in fields.values())


def test_candidates_are_the_same_texts(tmp_path: Path) -> None:
    rows = [{"question": "Why?", "answers": ["a", 0, "None"]}]
    for container, write in CONTAINERS.items():
        (tmp_path / container).write_bytes(write(rows))
        (found,) = read_candidates(str(tmp_path / container))
        assert found.answers == ("a", "0", "None")
