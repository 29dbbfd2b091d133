"""The searcher and the links of `questions.documents`: what finds a run's contexts is checked, used and recorded."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from rlaif.documents.fetching import Fetcher
from rlaif.errors import UserError, WorkError
from rlaif.models.resolve import weights_id
from rlaif.planning.plan import PlanOptions, make_plan
from rlaif.recipe import parse_recipe
from rlaif.retrieval import collection
from tests.endpoint import Exchange, endpoint
from tests.local_site import Site, serve_site
from tests.small_encoder import save_cross_encoder, save_encoder
from tests.unit.filings_run import OWN, RECIPE, REVENUE, STORES, make_filings, setup_of, start, write

WORDS = ["revenue", "alder", "people", "seven", "stores"]
FUSED = ("questions.documents.method=fused", "questions.documents.encoder=encoder")
JUDGE = """
def judge(question, candidates, gold_answer, context):
    return [float("Seven" in text) for text in candidates]
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RLAIF_CACHE", str(tmp_path / "cache"))
    make_filings()
    return tmp_path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with serve_site(tmp_path) as served:
        local = partial(Fetcher, allowed=lambda address: address == "127.0.0.1", context=served.context)
        monkeypatch.setattr(collection, "Fetcher", local)
        yield served


def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("runs/mine/prompts/documents.json").read_text())
    return found


def test_contexts_by_an_encoder_are_recorded_with_its_weights(here: Path) -> None:
    folder = Path(save_encoder(here / "encoder", WORDS))
    first, lines = start(*FUSED)
    assert "  searched by BM25 and encoder" in lines
    assert first.train[0].chunks is not None
    # A chunk without a word of the question is found by its vector.
    assert len(first.train[0].chunks) == 2
    encoder = {"name": "encoder", "id": weights_id(str(folder))}
    assert record()["searcher"] == {"method": "fused", "encoder": encoder, "rerank": None}
    again, _ = start(*FUSED)
    assert again.train == first.train
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"What differs: encoder of questions\.documents\.encoder \(\w{12} -> \w{12}\)"):
        start(*FUSED)
    with pytest.raises(UserError, match=r"questions\.documents\.method \('fused' -> 'bm25'\)"):
        start()


def test_a_judge_reranks_and_its_verdicts_are_part_of_the_run(here: Path) -> None:
    Path("mine.py").write_text(JUDGE)
    Path("mine.yaml").write_text("kind: python\nfile: mine.py\n")
    settings = ("questions.documents.rerank=judge:./mine.yaml", *FUSED)
    save_encoder(here / "encoder", WORDS)
    setup, lines = start(*settings)
    assert any(line.endswith("reranked by judge:./mine.yaml") for line in lines)
    assert setup.train[0].chunks is not None
    assert "Seven" in setup.train[0].chunks[0].text
    rows = pq.read_table("runs/mine/prompts/contexts.parquet").to_pylist()
    assert [row["score"] for row in rows if row["question_id"] == "r"] == [1.0, 0.0]
    Path("mine.py").write_text(JUDGE.replace("Seven", "Eight"))
    with pytest.raises(UserError, match=r"What differs: judge:\./mine\.yaml of questions\.documents\.rerank"):
        start(*settings)


def test_a_classifier_reranks(here: Path) -> None:
    folder = save_cross_encoder(here / "cross", WORDS)
    setup, _ = start(f"questions.documents.rerank={folder}")
    assert setup.train[0].chunks
    assert record()["searcher"]["rerank"] == {"name": folder, "id": weights_id(folder)}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            ["rerank=judge:rubric"],
            "rerank: .*rubric.yaml asks policy on engines of the run, which start after contexts",
        ),
        (["rerank=judge:helpfulness"], "rerank: .*cannot rate one passage by itself; expected a judge of kind pointw"),
        (["rerank=judge:absent"], "rerank: absent: no judge by that name or path"),
        (["rerank=./absent"], "rerank: ./absent: no such directory"),
        (["method=encoder", "encoder=./absent"], "encoder: ./absent: no such directory"),
        (["method=encoder", "encoder=odd"], "encoder: odd: modules.json: no JSON"),
    ],
)
def test_what_cannot_search_is_refused_before_anything_starts(here: Path, settings: list[str], says: str) -> None:
    save_encoder(here / "odd", WORDS)
    Path("odd/modules.json").write_text("[")
    overrides = [f"questions.documents.{setting}" for setting in settings]
    with pytest.raises(UserError, match=rf"^questions\.documents\.{says}"):
        setup_of(*overrides)
    with pytest.raises(UserError, match=rf"^questions\.documents\.{says}"):
        make_plan(parse_recipe(RECIPE, "mine.yaml", overrides), PlanOptions())
    assert setup_of(*overrides, "questions.documents.contexts=gold").documents is None


def test_the_key_and_the_limit_of_a_reranking_endpoint_are_checked(here: Path) -> None:
    backend = "{type: openai, base_url: 'https://example.org/v1', model: m, api_key_env: ABSENT_KEY}"
    Path("far.yaml").write_text(f"kind: llm\nprompt: rubric\nbackend: {backend}\n")
    with pytest.raises(UserError, match=r"^questions\.documents\.rerank: .*ABSENT_KEY"):
        setup_of("questions.documents.rerank=judge:./far.yaml")


def rate_seven(exchange: Exchange, number: int) -> None:
    """Rate what says seven 5, and anything else 1."""
    shown = exchange.server.requests[number - 1]["messages"][-1]["content"]
    exchange.say(f"Rating: [[{5 if 'Seven' in shown else 1}]]")


def test_an_endpoint_reranks_within_the_limit_of_the_recipe(here: Path) -> None:
    with endpoint(rate_seven) as server:
        backend = f"{{type: openai, model: m, base_url: '{server.url}', api_key_env: null"
        Path("far.yaml").write_text(f"kind: llm\nprompt: rubric\nreasoning: true\nbackend: {backend}}}\n")
        Path("filings/BIRCH.txt").write_text("Birch had 12 stores.\fBirch sold stores.")
        setup, _ = start("questions.documents.rerank=judge:./far.yaml")
        assert setup.train[0].chunks is not None
        assert "Seven" in setup.train[0].chunks[0].text
        prices = "prices: {prompt: 1000, completion: 1000}"
        Path("dear.yaml").write_text(
            f"kind: llm\nprompt: rubric\nreasoning: true\nrubric: other\nbackend: {backend}, {prices}}}\n"
        )
        # The run's own judge charges nothing.
        with pytest.raises(WorkError, match=r"judge\.max_cost"):
            start("questions.documents.rerank=judge:./dear.yaml", "name=dear", "judge.max_cost=0.001")
    with pytest.raises(UserError, match=r"^judge\.max_cost: \S*far\.yaml has no backend\.prices"):
        setup_of("questions.documents.rerank=judge:./far.yaml", "judge.max_cost=1")
    with pytest.raises(UserError, match=r"^judge\.max_cost: judge reference asks no endpoint"):
        setup_of("judge.max_cost=1")


def test_documents_are_fetched_from_links_once(site: Site) -> None:
    agent = "Acme research ann@example.org"
    settings = ("questions.documents.fetch=true", f"questions.documents.user_agent={agent}")
    site.pages["/FIR.md"] = b"# Fir\n\nFir had 40 stores."
    fir = {**STORES, "id": "fir", "document": "FIR", "doc_link": f"{site.url}/FIR.md"}
    gone = {**STORES, "id": "gone", "document": "GONE", "doc_link": f"{site.url}/none"}
    write("train", REVENUE, fir, gone, OWN)
    with pytest.raises(UserError, match=r"user_agent: missing; expected who fetches"):
        setup_of(settings[0])
    setup, lines = start(*settings)
    assert [each.id for each in setup.train] == ["r", "fir", "own"]
    assert "Fir had 40 stores" in setup.train[1].context
    assert any("gone: its document GONE could not be read: cannot be fetched: HTTP 404" in line for line in lines)
    assert set(site.asked) == {("/FIR.md", agent), ("/none", agent)}
    documents = record()["documents"]
    assert documents["FIR"]["path"] == f"{site.url}/FIR.md"
    assert documents["FIR"]["sha256"]
    # Another start, and another run, fetch nothing that is kept.
    asked = site.asked.count(("/FIR.md", agent))
    again, _ = start(*settings[:1], "questions.documents.user_agent=Other bob@example.org")
    assert again.train == setup.train
    start(*settings, "name=other")
    assert site.asked.count(("/FIR.md", agent)) == asked == 1
    plain, _ = start("name=plain")
    assert [each.id for each in plain.train] == ["r", "own"]


def test_all_documents_are_those_of_the_folder_and_of_the_links(site: Site) -> None:
    site.pages["/FIR.md"] = b"# Fir\n\nFir had 40 stores."
    write("train", {**STORES, "question": "How many stores had Fir?", "doc_link": f"{site.url}/FIR.md", "document": ""})
    setup, _ = start(
        "questions.documents.fetch=true", "questions.documents.user_agent=Acme ann@example.org",
        "questions.documents.scope=all", "questions.documents.top_k=5",
    )  # fmt: skip
    assert setup.train[0].chunks is not None
    assert {chunk.document for chunk in setup.train[0].chunks} == {"FIR", "BIRCH"}
