"""What a policy answers with gold evidence and with what is found: the same questions, paired, in one table."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.documents.document import Chunk
from rlaif.documents.index import Index
from rlaif.evaluation.answering import AnsweringPolicy
from rlaif.evaluation.by_context import GOLD, ContextKind, figures_by_context, with_contexts
from rlaif.evaluation.heldout import HeldoutAnswer
from rlaif.inference.requests import Candidate, SampleReply, SampleRequest
from rlaif.progress import Progress, Silent
from rlaif.recipe import DocumentsSection
from rlaif.retrieval.corpus import Corpus, Truth
from rlaif.retrieval.evidence_questions import EvidenceQuestion

REFUSAL = "The documents do not say."
OWN, ALL = ContextKind("document", "bm25"), ContextKind("all", "bm25")
run = CliRunner()


class Pool:
    """Answers with the number of anvils where the prompt has it, else refuses; it fails on rockets."""

    async def sample(self, request: SampleRequest) -> tuple[SampleReply, int]:
        prompt = "\n".join(message["content"] for message in request.messages)
        if "rockets" in prompt:
            return SampleReply(request.id, [], [], "policy", failure="too long"), 1
        text = "8,631" if "8,631" in prompt else REFUSAL
        return SampleReply(request.id, [1], [Candidate(text, [2], [-0.5], "stop", 0)], "policy"), 1


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RLAIF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pool above answer, without Ray and without an engine."""

    @asynccontextmanager
    async def open_pool(policy: AnsweringPolicy, progress: Progress) -> AsyncIterator[Pool]:
        yield Pool()

    monkeypatch.setattr(AnsweringPolicy, "open_pool", open_pool)
    monkeypatch.setattr("rlaif.evaluation.by_context.ray_cluster", lambda address: nullcontext())


def written(name: str, rows: list[dict[str, Any]]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def test_contexts_of_each_kind_are_of_the_same_questions(tmp_path: Path) -> None:
    texts = [("ACME", "Sales were 5."), ("ACME", "Costs were 3."), ("ZETA", "Sales and sales were 7.")]
    chunks = [Chunk(f"c{at}", name, "", at, 0, f"{name}\n{text}") for at, (name, text) in enumerate(texts, 1)]
    index = Index.build(tmp_path, chunks, key="k")
    truths = {"q": Truth("ACME", frozenset({1}), frozenset({"c1"})), "p": Truth("ACME", frozenset({2}), frozenset())}
    asked = [
        EvidenceQuestion("q", "What were sales?", ("Sales 5", "in all"), ("ACME",), (), None, "5"),
        EvidenceQuestion("p", "What were costs?", (), ("ACME",), (2,), None, "3"),
    ]
    section = DocumentsSection(top_k=1)
    found = with_contexts(
        asked, Corpus(index, truths, {}), {"bm25": index}, section, count_tokens=words, progress=Silent()
    )
    assert [question.context for question in found[GOLD]] == ["Sales 5\n\nin all", "ACME\nCosts were 3."]
    assert [question.chunk_ids for question in found[OWN]] == [["c1"], ["c2"]]
    assert [question.chunk_ids for question in found[ALL]] == [["c3"], ["c2"]]
    for questions in found.values():
        assert [(each.id, each.gold_answer) for each in questions] == [("q", "5"), ("p", "3")]


def test_figures_are_means_and_paired_differences_to_gold() -> None:
    def answered(*scores: float, answer: str = "5") -> list[HeldoutAnswer]:
        return [
            HeldoutAnswer(str(at), "?", "", "5", answer, score, None, score, 1, None, bool(score))
            for at, score in enumerate(scores)
        ]

    found = figures_by_context({GOLD: answered(1, 1, 0, 0), OWN: answered(0, 1, 0, 0, answer=REFUSAL)}, REFUSAL)
    assert {name: figure.value for name, figure in found[GOLD].figures.items()} == {
        "score": 0.5, "f1": 0.5, "contained": 0.5, "refused": 0.0,
    }  # fmt: skip
    assert found[GOLD].differences == {}
    differences = found[OWN].differences
    assert {name: figure.value for name, figure in differences.items()} == {
        "score": -0.25, "f1": -0.25, "contained": -0.25, "refused": 1.0,
    }  # fmt: skip
    # Paired: three of four questions differ by nothing.
    assert (differences["score"].low, differences["score"].high) == (-0.75, 0.0)


def test_report_answers_with_each_kind_of_context(engines: None) -> None:
    Path("filings").mkdir()
    Path("filings/ACME.md").write_text("# Acme\n\nAcme sold 8,631 anvils.\n")
    Path("filings/ZETA.md").write_text("# Zeta\n\nZeta sold anvils, and anvils, and anvils: Acme did too.\n")
    evidence = {"evidence": "Acme sold 8,631 anvils.", "doc_name": "ACME"}
    questions = written(
        "questions.jsonl",
        [
            {"id": "q1", "question": "How many anvils, and anvils, did Zeta not sell?", "answer": "8,631", **evidence},
            {"id": "q2", "question": "How many rockets?", "answer": 7, **evidence},
            {"id": "q3", "question": "Anything?", "answer": None, **evidence},
        ],
    )
    asked = ["documents", "report", "--questions", questions, "--documents", "filings", "-k", "1"]
    answering = [*asked, "--answer", "builtin:smollm2-135m", "--set", "questions.documents.top_k=1"]
    shown = run.invoke(app, [*answering, "--json"])
    assert shown.exit_code == 0, shown.output
    assert "1 of 3 questions are not answered: no gold answer is known" in shown.stderr
    facts = json.loads(shown.stdout)
    assert facts["answers"]["policy"] == "builtin:smollm2-135m"
    gold, own, everywhere = facts["answers"]["contexts"]
    assert [(each["contexts"], each["searcher"]) for each in (gold, own, everywhere)] == [
        ("gold", None), ("document", "bm25"), ("all", "bm25"),
    ]  # fmt: skip
    for each in (gold, own, everywhere):
        assert each["questions"] == 2
        assert each["failed"]["q2"]
    assert [each["figures"]["score"]["mean"] for each in (gold, own, everywhere)] == [0.5, 0.5, 0.0]
    assert [each["figures"]["refused"]["mean"] for each in (gold, own, everywhere)] == [0.0, 0.0, 0.5]
    assert gold["less_gold"] == {}
    assert everywhere["less_gold"]["contained"]["mean"] == -0.5
    table = run.invoke(app, answering).stdout
    rows = [line.split() for line in table.splitlines()]
    assert ["score", "2", "gold", "evidence", "0.50", "[0.00,", "1.00]", "–"] in rows
    assert ["bm25,", "all", "documents", "0.00", "-0.50", "[-1.00,", "+0.00]"] in rows
    assert "gold evidence: 1 question not answered, which counts as wrong, such as q2: too long" in table
    assert "answers" not in json.loads(run.invoke(app, [*asked, "--json"]).stdout)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "policy.max_length=64"], "--set has no effect: nothing is answered; expected --answer with it"),
        (
            ["--answer", "builtin:smollm2-135m", "--set", "questions.documents.folder=f"],
            "--set questions.documents.folder=f: has no effect here",
        ),
        (
            ["--answer", "builtin:smollm2-135m", "--set", "questions.documents.top_k=null"],
            "top_k: expected a number of chunks, or max_tokens",
        ),
        (["--answer", "./absent"], "./absent: no such directory"),
        (["--answer", "builtin:smollm2-135m"], "q.jsonl: no question has a gold answer; expected one, which --answer"),
        (["--answer", "builtin:smollm2-135m", "--set", "policy.top=1"], "policy.top: unknown key"),
    ],
)
def test_what_cannot_be_answered_is_refused_at_once(words: list[str], says: str) -> None:
    questions = written("q.jsonl", [{"question": "Sales?", "evidence": "Sales were 5."}])
    shown = run.invoke(app, ["documents", "report", "--questions", questions, *words])
    assert shown.exit_code == 2
    assert says in shown.stderr
