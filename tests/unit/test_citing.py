"""Answers from retrieved contexts cite the chunk that supports them; those from other contexts stay as they were."""

import csv
import io

from rlaif.data.question import Question
from rlaif.documents.document import Chunk
from rlaif.evaluation.citing import cited_fields
from rlaif.evaluation.heldout import HeldoutAnswer, answer_rows, metrics_of, predictions_csv

REFUSAL = "The documents do not say."
FIRST = Chunk("c1", "A_10K", "0" * 64, 3, 0, "A_10K, page 3\nRevenue | 2023: 12 | 2022: 11\nCosts | 2023: 7 | 2022: 6")
SECOND = Chunk("c2", "A_10K", "0" * 64, 9, 1, "A_10K, page 9\nThe company had 310 stores. It opened 7 of them.")
ASKED = Question("q1", "How many stores?", "...", "310", chunks=(FIRST, SECOND))


def answered(question: Question, text: str) -> HeldoutAnswer:
    known = (question.id, question.question, question.context, "310", text, 1.0, True, 1.0, 3, question.unasked or None)
    return HeldoutAnswer(*known, **cited_fields(question, text, REFUSAL))


def read(answers: list[HeldoutAnswer]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(predictions_csv(answers).decode())))


def test_the_chunk_with_the_answers_figure_is_cited() -> None:
    (row,) = read([answered(ASKED, "310 stores")])
    assert row == {
        "id": "q1", "answer": "310 stores", "passage": "The company had 310 stores.",
        "chunk": "c2", "document": "A_10K", "page": "9",
    }  # fmt: skip
    assert list(row) == ["id", "answer", "passage", "chunk", "document", "page"]
    (row,) = read([answered(ASKED, "Costs of 7")])
    assert (row["chunk"], row["passage"]) == ("c1", "Costs | 2023: 7 | 2022: 6")


def test_a_refusal_and_an_unasked_question_cite_nothing() -> None:
    unasked = Question("q2", "Why?", chunks=(), unasked="document B could not be read: it is encrypted")
    rows = read([answered(ASKED, REFUSAL), answered(unasked, ""), answered(ASKED, "310")])
    assert [(row["chunk"], row["document"], row["page"], row["passage"]) for row in rows[:2]] == [("",) * 4] * 2
    assert rows[2]["chunk"] == "c2"


def test_answers_from_other_contexts_stay_as_they_were() -> None:
    plain = answered(Question("q3", "Stores?", "It had 310 stores."), "310")
    assert predictions_csv([plain]) == b"id,answer,passage\nq3,310,It had 310 stores.\n"
    assert list(answer_rows([plain])[0])[-1] == "contained"
    assert list(answer_rows([plain, answered(ASKED, "310")])[0])[-1] == "refused"
    assert set(metrics_of([plain], 0.95, 0)) == {"length", "score", "exact", "f1"} | (
        {"contained"} if plain.contained is not None else set()
    )


def test_refusals_are_measured_apart_where_the_evidence_was_withheld() -> None:
    withheld = Question("q4", "How many?", "...", REFUSAL, chunks=(FIRST,), withheld=True)
    answers = [answered(ASKED, "310"), answered(ASKED, REFUSAL), answered(withheld, REFUSAL)]
    metrics = metrics_of(answers, 0.95, 0)
    assert (metrics["refused"].value, metrics["refused_withheld"].value) == (0.5, 1.0)
