"""The searchers of a command, by the names that a person gives them: `bm25+encoder+rerank`.

Invariant: searchers of one command share the index, the encoder and the reranker.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import get_args

from rlaif.documents.index import Index
from rlaif.errors import UserError
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.serving import Serving, serving_settings
from rlaif.progress import Progress
from rlaif.retrieval.classifier_reranker import ClassifierReranker
from rlaif.retrieval.encoder import Encoder
from rlaif.retrieval.judge_reranker import judge_reranker
from rlaif.retrieval.search import Method, Reranker, Searcher
from rlaif.retrieval.vectors import Vectors

RERANK = "+rerank"
JUDGE = "judge:"
NAMES = tuple(f"{method}{suffix}" for suffix in ("", RERANK) for method in get_args(Method))
_QUERY_BYTES = 4096


def check_searchers(names: Sequence[str], encoder: str | None, rerank: str | None) -> None:
    """Raise UserError if a searcher is unknown, lacks its encoder or reranker, or if none uses one that is given."""
    for name in names:
        if name not in NAMES:
            raise UserError(f"--searcher {name}: expected one of {', '.join(NAMES)}")
        for part, given in (("encoder", encoder), ("rerank", rerank)):
            if part in name and given is None:
                raise UserError(f"--searcher {name}: expected --{part}, which says what it is")
    for part, given in (("encoder", encoder), ("rerank", rerank)):
        if given is not None and not any(part in name for name in names):
            raise UserError(f"--{part} has no effect: no searcher uses it; expected one of --searcher with {part}")


@contextmanager
def open_searchers(
    index: Index,
    names: Sequence[str],
    encoder: str | None,
    rerank: str | None,
    progress: Progress,
    *,
    serving: Serving | None = None,
) -> Iterator[dict[str, Searcher]]:
    """Open searchers of an index for a block.

    Args:
        names: of `NAMES`.
        encoder: folder or hub id of a sentence encoder.
        rerank: folder or hub id of a sequence classifier, or `judge:` and the name or path of a judge.
        serving: how a judge's models are served; None takes the defaults.

    Raises:
        UserError: see `check_searchers`; or a model or a judge cannot be used.
    """
    check_searchers(names, encoder, rerank)
    with ExitStack() as stack:
        vectors = None
        if encoder is not None:
            model = Encoder(encoder)
            stack.callback(model.release)
            vectors = Vectors.build(index, model, progress)
        reranker = stack.enter_context(_reranker(index, rerank, serving or Serving(serving_settings()), progress))
        yield {
            name: Searcher(
                index,
                next(method for method in get_args(Method) if method == name.removesuffix(RERANK)),
                vectors if "encoder" in name else None,
                reranker if name.endswith(RERANK) else None,
            )
            for name in names
        }


@contextmanager
def _reranker(index: Index, rerank: str | None, serving: Serving, progress: Progress) -> Iterator[Reranker | None]:
    if rerank is None:
        yield None
    elif not rerank.startswith(JUDGE):
        classifier = ClassifierReranker(rerank)
        try:
            yield classifier
            if classifier.cut:
                progress.say(
                    f"{rerank} read {classifier.cut:,} times a chunk without its end, which it has no room for"
                )
        finally:
            classifier.release()
    else:
        spec = load_judge_file(rerank.removeprefix(JUDGE))
        longest = index.longest + _QUERY_BYTES
        with judge_reranker(spec, serving, progress, longest=longest) as reranker:
            yield reranker
