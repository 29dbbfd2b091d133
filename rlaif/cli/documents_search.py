"""`rlaif documents search` and `report`: passages for a query; how well evidence is found, and answers with it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rlaif.cli.options import ColumnsOption, Overrides, RayAddress, Runs
from rlaif.cli.terminal import print_result, working
from rlaif.errors import Fault, UserError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rlaif.documents.index import IndexSettings
    from rlaif.evaluation.answering import AnsweringPolicy
    from rlaif.evaluation.by_context import ContextFigures, ContextKind, Contexts
    from rlaif.progress import Progress
    from rlaif.retrieval.corpus import Corpus
    from rlaif.retrieval.evidence_questions import EvidenceQuestion
    from rlaif.retrieval.search import Searcher

_Encoder = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Sentence encoder, to fuse with BM25: a folder or a hub id.")
]
_Rerank = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Sequence classifier that reranks, or judge:NAME, a judge that rates passages."),
]
_ChunkWords = Annotated[int, typer.Option(min=20, help="Words of prose in a chunk, at most.")]
_PageWeight = Annotated[
    float | None, typer.Option(min=0, max=1, help="Share of the page's own BM25 in a chunk's score.")
]
_STOPPED = "stopped; what was read and encoded is kept"
_CACHE = "searched"
_OF_CONTEXTS = tuple(f"questions.documents.{key}" for key in ("top_k", "max_tokens", "refusal"))
"""Keys of the questions that say how a policy answers with contexts."""


def search(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Documents, or folders of them.")],
    query: Annotated[str, typer.Option("--query", "-q", help="What is searched for.")],
    document: Annotated[str | None, typer.Option(metavar="NAME", help="Search this document only.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Passages to show.")] = 5,
    *,
    encoder: _Encoder = None,
    rerank: _Rerank = None,
    chunk_words: _ChunkWords = 200,
    page_weight: _PageWeight = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON, progress on standard error.")] = False,
) -> None:
    """Search documents: the passages that fit a query best, with their pages."""
    import hashlib

    from rlaif.documents.chunks import chunks_of
    from rlaif.documents.document import Chunk
    from rlaif.documents.index import Index
    from rlaif.io.files import cache_folder
    from rlaif.reporting.search import hits_json, hits_view
    from rlaif.retrieval.corpus import Documents
    from rlaif.retrieval.searchers import RERANK, open_searchers

    name = ("bm25+encoder" if encoder else "bm25") + (RERANK if rerank else "")
    with working(_STOPPED, stderr=True) as progress:
        documents = Documents(paths, progress)
        read = [(each.name, each.sha256, each.reader) for each in documents()]

        def chunks() -> Iterator[Chunk]:
            for each in documents():
                yield from chunks_of(each, chunk_words)

        key = hashlib.sha256(json.dumps([chunk_words, read]).encode()).hexdigest()
        index = Index.build(cache_folder() / _CACHE, chunks(), key=key, settings=_settings(page_weight))
        with open_searchers(index, [name], encoder, rerank, progress) as searchers:
            hits = searchers[name].search(query, k, document)
    print_result(hits_json(hits), hits_view(hits), json_)


def report(
    questions: Annotated[
        str, typer.Option(metavar="FILE", help="JSON, CSV or Parquet with question, and evidence or page.")
    ],
    documents: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Documents, or a folder of them; evidence of others is a chunk by itself."),
    ] = None,
    among: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="More passages to search among, in `context` or `text`.")
    ] = None,
    searcher: Annotated[
        list[str] | None, typer.Option(help="bm25, encoder or bm25+encoder, each also with +rerank; again for more.")
    ] = None,
    *,
    encoder: _Encoder = None,
    rerank: _Rerank = None,
    scope: Annotated[
        Literal["all", "document"], typer.Option(help="Search all documents, or the question's own.")
    ] = "all",
    k: Annotated[list[int] | None, typer.Option("-k", min=1, help="Hits to look at; again for more: 1, 5, 10.")] = None,
    chunk_words: _ChunkWords = 200,
    page_weight: _PageWeight = None,
    columns: ColumnsOption = None,
    answer: Annotated[
        str | None,
        typer.Option(metavar="POLICY", help="Run or model that answers with gold evidence and with what is found."),
    ] = None,
    runs: Runs = "runs",
    set_: Overrides = None,
    address: RayAddress = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the intervals.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON, progress on standard error.")] = False,
) -> None:
    """Measure searchers by questions whose evidence is known: hit, recall and page hit among the first k.

    With --answer, a policy answers each question with its gold evidence, with what each searcher finds in the own
    document, and with what it finds in all documents.
    """
    from rich.console import Group

    from rlaif.io.column_names import parse_columns
    from rlaif.io.files import cache_folder
    from rlaif.reporting.search import searchers_json, searchers_table
    from rlaif.retrieval.corpus import Documents, build_corpus
    from rlaif.retrieval.evidence_questions import read_evidence_questions, read_passages
    from rlaif.retrieval.recall import figures_by_kind, measure_searcher
    from rlaif.retrieval.searchers import RERANK, check_searchers, open_searchers

    names = list(dict.fromkeys(searcher or ()))
    if not names:
        names = ["bm25", *(["encoder", "bm25+encoder"] if encoder else [])]
        names += [names[-1] + RERANK] if rerank else []
    check_searchers(names, encoder, rerank)
    ks = sorted(set(k or (1, 5, 10)))
    policy = _policy(answer, runs, set_ or [], address)
    asked = read_evidence_questions(questions, parse_columns(columns), gold_answers=policy is not None)
    if policy is not None and not any(question.gold_answer for question in asked):
        raise UserError(
            Fault(questions, "no question has a gold answer", expected="one, which --answer is measured by")
        )
    passages = [passage for path in among or () for passage in read_passages(path)]
    with working(_STOPPED, stderr=True) as progress:
        corpus = build_corpus(
            cache_folder() / _CACHE, asked, Documents(documents or (), progress), passages,
            chunk_words=chunk_words, settings=_settings(page_weight),
        )  # fmt: skip
        for id_, reason in corpus.left_out.items():
            progress.say(f"{questions}: {id_} is left out: {reason}")
        measured = [question for question in asked if question.id in corpus.truths]
        kinds = [question.kind for question in measured]
        figures, milliseconds, answered = {}, {}, None
        with open_searchers(corpus.index, names, encoder, rerank, progress) as searchers:
            for name, each in searchers.items():
                progress.stage(f"search by {name}", len(measured))
                results, milliseconds[name] = measure_searcher(
                    each, measured, corpus, max(ks), own_document=scope == "document", progress=progress
                )
                figures[name] = figures_by_kind(results, kinds, ks, seed)
            contexts = _contexts(policy, measured, corpus, searchers, progress) if policy else {}
        if policy is not None:
            answered = _answered(policy, contexts, address, seed, progress)
    facts: dict[str, Any] = {
        "chunks": len(corpus.index),
        "scope": scope,
        "left_out": corpus.left_out,
        "milliseconds": milliseconds,
        "searchers": searchers_json(figures),
    }
    view: RenderableType = searchers_table(figures, ks, len(corpus.index), len(corpus.left_out))
    if answer is not None and answered is not None:
        from rlaif.reporting.context_answers import answers_json, answers_table

        facts["answers"] = answers_json(answered, answer)
        view = Group(view, answers_table(answered, answer))
    print_result(facts, view, json_)


def _policy(answer: str | None, runs: str, overrides: list[str], address: str | None) -> "AnsweringPolicy | None":
    """Return the policy that answers, checked; None where none does."""
    if answer is None:
        if unused := [name for name, given in (("--set", overrides), ("--address", address)) if given]:
            raise UserError(f"{unused[0]} has no effect: nothing is answered; expected --answer with it")
        return None
    from rlaif.evaluation.answering import answering_policy
    from rlaif.evaluation.by_context import context_settings

    for override in overrides:
        key = override.partition("=")[0].strip()
        if key.split(".")[0] == "questions" and key not in _OF_CONTEXTS:
            raise UserError(
                f"--set {override}: has no effect here: documents and searchers are options of the command; expected "
                f"of questions {', '.join(_OF_CONTEXTS)}"
            )
    policy = answering_policy(answer, runs, overrides)
    policy.check([])
    context_settings(policy)
    return policy


def _contexts(
    policy: "AnsweringPolicy",
    asked: "Sequence[EvidenceQuestion]",
    corpus: "Corpus",
    searchers: "Mapping[str, Searcher]",
    progress: "Progress",
) -> "Contexts":
    """Return the questions that have gold answers, with contexts of each kind."""
    from rlaif.evaluation.by_context import context_settings, with_contexts

    known = [question for question in asked if question.gold_answer]
    if not known:
        raise UserError("no question has both a gold answer and evidence in the documents; expected at least one")
    if len(known) < len(asked):
        progress.say(
            f"{len(asked) - len(known):,} of {len(asked):,} questions are not answered: no gold answer is known"
        )
    return with_contexts(
        known, corpus, searchers, context_settings(policy), count_tokens=policy.count_tokens, progress=progress
    )


def _answered(
    policy: "AnsweringPolicy", contexts: "Contexts", address: str | None, seed: int, progress: "Progress"
) -> "dict[ContextKind, ContextFigures]":
    from rlaif.evaluation.by_context import answer_contexts, context_settings, figures_by_context

    refusal = context_settings(policy).refusal
    answers = answer_contexts(policy, contexts, refusal, address=address, progress=progress)
    return figures_by_context(answers, refusal, seed=seed)


def _settings(page_weight: float | None) -> "IndexSettings":
    from rlaif.documents.index import IndexSettings

    return IndexSettings() if page_weight is None else IndexSettings(page_weight=page_weight)


COMMANDS: dict[str, Callable[..., None]] = {"search": search, "report": report}
