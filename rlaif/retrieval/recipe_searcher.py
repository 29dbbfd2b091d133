"""The searcher that `questions.documents` asks for: checked before anything starts, then opened, and recorded.

Invariant: it needs no engine of the run, since contexts are made before engines start.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlaif.documents.index import Index
from rlaif.errors import UserError
from rlaif.judges.build import check_environment, limited_spending, remote_judges
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.serving import Serving, serving_settings
from rlaif.judges.spec import JudgeSpec
from rlaif.models.resolve import check_model, model_identity, resolve_model
from rlaif.progress import Progress
from rlaif.recipe.documents import DocumentsSection
from rlaif.retrieval.encoder_files import read_encoder_settings
from rlaif.retrieval.judge_reranker import check_reranks
from rlaif.retrieval.search import Method, Searcher
from rlaif.retrieval.searchers import JUDGE, RERANK, open_searchers
from rlaif.store.records.documents_record import SearcherRecord, SearchModel

_METHODS: dict[str, Method] = {"bm25": "bm25", "encoder": "encoder", "fused": "bm25+encoder"}


def check_searcher(section: DocumentsSection) -> None:
    """Check that the models of a searcher exist and that its judge can rerank, without loading or asking one.

    Raises:
        UserError: what is wrong, with the recipe's key.
    """
    if section.contexts == "gold":
        return
    if section.encoder is not None:
        _checked("encoder", _check_encoder, section.encoder)
    if section.rerank is not None:
        _checked("rerank", _check_rerank, section.rerank)


def check_access(section: DocumentsSection, max_cost: float | None = None) -> None:
    """Check that the keys that a reranking judge sends are in the environment, and the prices that hold its limit.

    Args:
        max_cost: limit of what its endpoints charge; None sets none.

    Raises:
        UserError: what is missing.
    """
    if section.contexts == "retrieved" and (judge := reranking_judge(section)) is not None:
        _checked("rerank", check_environment, judge)
        if remote_judges(judge):
            limited_spending([judge], max_cost)


def reranking_judge(section: DocumentsSection) -> JudgeSpec | None:
    """Return the judge that reranks; None where none does."""
    named = section.rerank
    return load_judge_file(named.removeprefix(JUDGE)) if named is not None and named.startswith(JUDGE) else None


@contextmanager
def open_recipe_searcher(
    index: Index, section: DocumentsSection, progress: Progress, max_cost: float | None = None
) -> Iterator[Searcher]:
    """Open the searcher of an index for a block, with its encoder and its reranker in this process.

    Args:
        max_cost: see `check_access`.

    Raises:
        WorkError: what a judge asks cannot answer, or it charges more than the limit.
    """
    name = _METHODS[section.method] + (RERANK if section.rerank else "")
    judge = reranking_judge(section)
    limit = max_cost if judge is not None and remote_judges(judge) else None
    serving = Serving(serving_settings(), max_cost=limit, limit="judge.max_cost")
    with open_searchers(index, [name], section.encoder, section.rerank, progress, serving=serving) as searchers:
        yield searchers[name]


def searcher_record(section: DocumentsSection) -> SearcherRecord:
    """Return what a run's record says of its searcher; a model comes to this machine for it.

    Raises:
        UserError: a model or a judge does not exist.
    """
    return SearcherRecord(
        method=section.method,
        encoder=_used_model(section.encoder) if section.encoder is not None else None,
        rerank=_used_model(section.rerank) if section.rerank is not None else None,
    )


def changed_models(record: SearcherRecord) -> list[str]:
    """Return what has changed of the models and the judge of a record; a model that is gone is not needed any more."""
    differs = []
    for key, used in (("encoder", record.encoder), ("rerank", record.rerank)):
        if used is not None and (used.name.startswith(JUDGE) or Path(used.name).is_dir()):
            now = _used_model(used.name).id
            if now != used.id:
                differs.append(f"{used.name} of questions.documents.{key} ({used.id[:12]} -> {now[:12]})")
    return differs


def _used_model(name: str) -> SearchModel:
    if name.startswith(JUDGE):
        return SearchModel(name=name, id=load_judge_file(name.removeprefix(JUDGE)).sha)
    return SearchModel(name=name, id=model_identity(resolve_model(name)))


def _checked(key: str, check: Callable[[Any], None], value: Any) -> None:
    try:
        check(value)
    except UserError as error:
        raise UserError(f"questions.documents.{key}: {error}") from None


def _check_encoder(name: str) -> None:
    check_model(name)
    if Path(name).is_dir():
        read_encoder_settings(Path(name), name)


def _check_rerank(name: str) -> None:
    if not name.startswith(JUDGE):
        check_model(name)
        return
    judge = load_judge_file(name.removeprefix(JUDGE))
    check_reranks(judge)
    if judge.models:
        raise UserError(
            f"{judge.path} asks {', '.join(sorted(judge.models))} on engines of the run, which start after contexts "
            "are made; expected a judge that asks an endpoint, a function, a URL or a reward model"
        )
