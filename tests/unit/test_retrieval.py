"""Searchers: an encoder's vectors as its folder says, fusion by ranks, reranking, and the scope of a document."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from rlaif.documents.document import Chunk
from rlaif.documents.index import Index
from rlaif.errors import UserError
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.serving import Serving, serving_settings
from rlaif.progress import Silent
from rlaif.retrieval.classifier_reranker import ClassifierReranker
from rlaif.retrieval.cut_texts import count_cut
from rlaif.retrieval.encoder import Encoder
from rlaif.retrieval.fusion import fused
from rlaif.retrieval.judge_reranker import judge_reranker
from rlaif.retrieval.search import Searcher
from rlaif.retrieval.vectors import Vectors
from tests.small_encoder import modules, save_cross_encoder, save_encoder

WORDS = ["net", "sales", "rose", "assets", "fell", "goodwill", "cash"]
MEAN = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
TEXTS = ["net sales rose", "assets", "goodwill and cash fell", "net sales rose assets fell goodwill cash"]


def chunks(texts: Sequence[str]) -> list[Chunk]:
    return [Chunk(f"c{number}", f"doc{number % 2}", "sha", number, 0, text) for number, text in enumerate(texts, 1)]


def hidden(folder: str, text: str) -> Any:
    """Return the states of all tokens of one text, as transformers gives them."""
    encoded = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.inference_mode():
        return AutoModel.from_pretrained(folder)(**encoded).last_hidden_state[0]


@pytest.mark.parametrize(
    ("mode", "pool"),
    [
        ("mean_tokens", lambda states: states.mean(dim=0)),
        ("cls_token", lambda states: states[0]),
        ("max_tokens", lambda states: states.amax(dim=0)),
        ("lasttoken", lambda states: states[-1]),
    ],
)
@pytest.mark.parametrize("normalize", [True, False])
def test_vectors_are_pooled_as_the_folder_says(tmp_path: Path, mode: str, pool: Any, normalize: bool) -> None:
    kinds = ["Transformer", "Pooling", *["Normalize"] * normalize]
    folder = save_encoder(
        tmp_path / "encoder", WORDS, modules=modules(*kinds),
        **{"1_Pooling__config": {f"pooling_mode_{mode}": True, "word_embedding_dimension": 16}},
    )  # fmt: skip
    encoder = Encoder(folder, batch_size=3)
    vectors = encoder.texts(TEXTS)
    assert vectors.shape == (len(TEXTS), 16)
    for text, vector in zip(TEXTS, vectors, strict=True):
        expected = pool(hidden(folder, text)).numpy()
        expected = expected / np.linalg.norm(expected) if normalize else expected
        np.testing.assert_allclose(vector, expected, atol=1e-5)
        np.testing.assert_allclose(encoder.texts([text])[0], vector, atol=1e-5)
    assert encoder.texts([]).shape == (0, 16)


def test_prompts_length_and_case_are_those_of_the_folder(tmp_path: Path) -> None:
    plain = Encoder(save_encoder(tmp_path / "plain", WORDS))
    told = Encoder(
        save_encoder(
            tmp_path / "told", WORDS, modules=modules("Transformer", "Pooling", "Normalize"),
            sentence_bert_config={"max_seq_length": 5, "do_lower_case": True},
            config_sentence_transformers={"prompts": {"query": "cash ", "passage": "goodwill "}},
            **{"1_Pooling__config": MEAN},
        )
    )  # fmt: skip
    assert (plain.longest, told.longest) == (32, 5)
    np.testing.assert_allclose(told.queries(["NET"]), plain.queries(["cash net"]), atol=1e-5)
    np.testing.assert_allclose(told.texts(["net sales rose"]), plain.texts(["goodwill net sales"]), atol=1e-5)
    assert plain.identity != told.identity
    assert plain.identity == Encoder(str(tmp_path / "plain")).identity


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"modules": modules("Transformer", "Pooling", "Dense"), "1_Pooling__config": MEAN}, "module Dense is unknown"),
        ({"modules": modules("Transformer")}, "names no pooling"),
        (
            {"modules": modules("Transformer", "Pooling"), "1_Pooling__config": {"pooling_mode_weightedmean": True}},
            "pools by weightedmean; expected one of cls_token",
        ),
        (
            {"modules": modules("Transformer", "Pooling"), "1_Pooling__config": MEAN | {"include_prompt": False}},
            "leaves its prompt out",
        ),
    ],
)
def test_an_encoder_of_another_kind_is_refused(tmp_path: Path, files: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Encoder(save_encoder(tmp_path, WORDS, **files))


def test_a_model_that_is_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent: no such directory"):
        Encoder(str(tmp_path / "absent"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="transformers cannot load it as an encoder"):
        Encoder(str(tmp_path))


def test_vectors_are_kept_with_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlaif.retrieval.vectors.PART", 3)
    encoder = Encoder(save_encoder(tmp_path / "encoder", WORDS))
    index = Index.build(tmp_path, chunks([*TEXTS, "cash"]), key="k")
    built = Vectors.build(index, encoder)
    assert len(list(index.folder.glob("vectors-*.npy"))) == 2
    np.testing.assert_allclose(
        built.scores("cash"), encoder.texts([*TEXTS, "cash"]) @ encoder.queries(["cash"])[0], atol=1e-4
    )
    first, second = sorted(index.folder.glob("vectors-*.npy"))
    before = first.stat().st_mtime_ns
    second.unlink()
    np.testing.assert_array_equal(Vectors.build(index, encoder).scores("cash"), built.scores("cash"))
    assert first.stat().st_mtime_ns == before
    empty = Index.build(tmp_path, [], key="empty")
    assert Searcher(empty, "bm25+encoder", Vectors.build(empty, encoder)).search("cash", 3) == []


def test_chunks_that_an_encoder_cuts_are_counted(tmp_path: Path) -> None:
    said: list[str] = []

    class Saying(Silent):
        def say(self, message: str) -> None:
            said.append(message)

    encoder = Encoder(save_encoder(tmp_path / "encoder", WORDS))
    longer = " ".join(["cash"] * (encoder.longest + 1))
    index = Index.build(tmp_path, chunks([*TEXTS, longer]), key="k")
    Vectors.build(index, encoder, Saying())
    assert said == ["1 of 5 chunks are longer than the 32 tokens that the encoder reads; it does not see their ends"]
    encoder.queries(["cash"])
    Vectors.build(index, encoder, Saying())
    assert len(said) == 1


@pytest.mark.parametrize("fast", [True, False])
def test_what_a_tokenizer_cuts_is_counted(tmp_path: Path, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = AutoTokenizer.from_pretrained(save_encoder(tmp_path / "encoder", WORDS))
    texts = ["cash " * 9, "cash"]
    encoded = tokenizer(texts, truncation=True, max_length=5)
    monkeypatch.setattr(type(tokenizer), "is_fast", fast)
    assert count_cut(encoded, tokenizer, texts, longest=5) == 1


def test_fusion_adds_reciprocal_ranks() -> None:
    scores = fused([np.array([2, 0]), np.array([0, 1])], 4)
    np.testing.assert_allclose(scores, [1 / 62 + 1 / 61, 1 / 62, 1 / 61, -np.inf], rtol=1e-6)


def test_methods_and_the_scope_of_a_document(tmp_path: Path) -> None:
    encoder = Encoder(save_encoder(tmp_path / "encoder", WORDS))
    index = Index.build(tmp_path, chunks(TEXTS), key="k")
    vectors = Vectors.build(index, encoder)
    near = vectors.scores("cash")
    by_vector = [TEXTS[number] for number in np.argsort(-near, kind="stable")]
    assert [hit.chunk.text for hit in Searcher(index, "encoder", vectors).search("cash", 9)] == by_vector
    bm25 = [hit.chunk.text for hit in Searcher(index).search("cash", 9)]
    assert bm25 == [TEXTS[2], TEXTS[3]]
    both = Searcher(index, "bm25+encoder", vectors).search("cash", 9)
    assert {hit.chunk.text for hit in both} == set(TEXTS)
    expected = {text: 1 / (61 + by_vector.index(text)) for text in TEXTS}
    for place, text in enumerate(bm25):
        expected[text] += 1 / (61 + place)
    assert {hit.chunk.text: hit.score for hit in both} == pytest.approx(expected)
    for method in ("bm25", "encoder", "bm25+encoder"):
        hits = Searcher(index, method, vectors).search("cash", 9, "doc1")  # type: ignore[arg-type]
        assert {hit.chunk.document for hit in hits} == {"doc1"}
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    with pytest.raises(ValueError, match="needs the vectors"):
        Searcher(index, "bm25+encoder")


class Partial:
    """Scores by length, and cannot score a chunk that holds `goodwill`."""

    def scores(self, query: str, chunks: Sequence[Chunk]) -> list[float | None]:
        return [None if "goodwill" in chunk.text else -len(chunk.text) for chunk in chunks]


def test_a_chunk_without_a_score_comes_last(tmp_path: Path) -> None:
    texts = ["goodwill cash", "cash net sales", "cash", "cash cash goodwill"]
    index = Index.build(tmp_path, chunks(texts), key="k")
    hits = Searcher(index, reranker=Partial()).search("cash", 4)
    assert [hit.chunk.text for hit in hits[:2]] == ["cash", "cash net sales"]
    assert [hit.score for hit in hits] == [-4, -14, None, None]
    former = [hit.chunk for hit in Searcher(index).search("cash", 4) if "goodwill" in hit.chunk.text]
    assert [hit.chunk for hit in hits[2:]] == former
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]


def test_a_classifier_scores_pairs(tmp_path: Path) -> None:
    folder = save_cross_encoder(tmp_path / "cross", WORDS)
    reranker = ClassifierReranker(folder, batch_size=3)
    scores = reranker.scores("net sales", chunks([*TEXTS, "cash " * 99]))
    assert (len(scores), reranker.cut) == (5, 1)
    assert all(score is not None for score in scores)
    alone = [ClassifierReranker(folder).scores("net sales", [chunk])[0] for chunk in chunks(TEXTS)]
    assert scores[:4] == pytest.approx(alone, abs=1e-5)
    with pytest.raises(UserError, match="3 outputs; expected a reranker with one"):
        ClassifierReranker(save_cross_encoder(tmp_path / "three", WORDS, outputs=3))
    with pytest.raises(UserError, match="no weights for"):
        ClassifierReranker(save_encoder(tmp_path / "encoder", WORDS))


def test_a_judge_rates_chunks(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def judge(question, candidates, gold_answer, context):\n"
        "    return [float(text.count(question.split()[-1])) for text in candidates]\n"
    )
    judge = tmp_path / "mine.yaml"
    judge.write_text("kind: python\nfile: mine.py\n")
    index = Index.build(tmp_path, chunks(["cash", "cash cash cash", "net cash"]), key="k")
    serving = Serving(serving_settings())
    with judge_reranker(load_judge_file(str(judge)), serving, Silent(), longest=1000) as reranker:
        for _ in range(2):
            hits = Searcher(index, reranker=reranker).search("how much cash", 2)
            assert [(hit.chunk.text, hit.score) for hit in hits] == [("cash cash cash", 3), ("cash", 1)]
    with (
        pytest.raises(UserError, match="cannot rate one passage by itself"),
        judge_reranker(load_judge_file("helpfulness"), serving, Silent(), longest=1000),
    ):
        pass


def test_settings_that_are_no_json_are_named(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path, WORDS)
    (tmp_path / "modules.json").write_text("[")
    with pytest.raises(UserError, match=r"modules\.json: no JSON"):
        Encoder(folder)
    (tmp_path / "modules.json").write_text(json.dumps(modules("Transformer", "Pooling")))
    with pytest.raises(UserError, match="pools by nothing"):
        Encoder(folder)
