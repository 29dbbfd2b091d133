"""How a policy answers with gold evidence, and with what searchers find in the own document or in all documents.

FinanceBench (arXiv:2311.11944) reports these side by side: what is lost between them is lost by searching.

Invariant: every kind of context is of the same questions, so that differences are paired. A question that was not
answered counts as wrong.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from rlaif.cluster.ray_cluster import ray_cluster
from rlaif.data.question import Question
from rlaif.documents.index import Index
from rlaif.errors import UserError
from rlaif.evaluation.answering import AnsweringPolicy
from rlaif.evaluation.heldout import HeldoutAnswer
from rlaif.grading.refusal import is_refusal
from rlaif.progress import Progress
from rlaif.recipe import DocumentsSection
from rlaif.retrieval.contexts import Searches, retrieve, with_gold_evidence
from rlaif.retrieval.corpus import Corpus, Truth
from rlaif.retrieval.evidence_questions import EvidenceQuestion
from rlaif.stats.bootstrap import Estimate, mean_interval, paired_difference

_SCOPES: tuple[Literal["document", "all"], ...] = ("document", "all")
MEASURES = ("score", "f1", "contained", "refused")


@dataclass(frozen=True, slots=True)
class ContextKind:
    """Where contexts come from.

    Attributes:
        contexts: the gold evidence, or what was found in the question's own document or in all documents.
        searcher: its name; None of gold evidence.
    """

    contexts: Literal["gold", "document", "all"]
    searcher: str | None = None


GOLD = ContextKind("gold")
Contexts = Mapping[ContextKind, Sequence[Question]]
"""The same questions with contexts of each kind, gold evidence first."""


@dataclass(frozen=True, slots=True)
class ContextFigures:
    """How well a policy answers with one kind of context.

    Attributes:
        questions: number of them.
        figures: means of `MEASURES`, with intervals.
        differences: of these to gold evidence, paired by question; empty of gold evidence itself.
        failed: why questions were not answered, by id.
    """

    questions: int
    figures: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]
    failed: Mapping[str, str]


def context_settings(policy: AnsweringPolicy) -> DocumentsSection:
    """Return how long contexts are and how a refusal reads: as in the policy's run, or as `--set` says.

    Raises:
        UserError: nothing limits a context, as a run that takes gold evidence may leave it.
    """
    own = policy.settings.questions.documents or DocumentsSection()
    if own.top_k is None and own.max_tokens is None:
        raise UserError("questions.documents.top_k: expected a number of chunks, or max_tokens; --set gives them")
    return own.model_copy(update={"contexts": "retrieved"})


def with_contexts(
    asked: Sequence[EvidenceQuestion],
    corpus: Corpus,
    searchers: Mapping[str, Searches],
    section: DocumentsSection,
    *,
    count_tokens: Callable[[Sequence[str]], Sequence[int]],
    progress: Progress,
) -> dict[ContextKind, list[Question]]:
    """Return the questions with their gold evidence, and with what each searcher finds.

    Where only the page is known, its chunks are the gold evidence.

    Args:
        asked: each with a truth in the corpus.
        searchers: of the corpus, by their names.
        section: says how many chunks, or how many tokens, a context has.
        count_tokens: see `retrieve`.
    """
    truths = corpus.truths
    pages = _page_texts(corpus.index, [truths[each.id] for each in asked if not each.evidence])
    plain = [
        Question(
            each.id,
            each.question,
            gold_answer=each.gold_answer,
            document=truths[each.id].document,
            evidence="\n\n".join(each.evidence or pages[truths[each.id]]),
        )
        for each in asked
    ]
    found = {GOLD: [with_gold_evidence(question) for question in plain]}
    progress.stage("search contexts", 2 * len(searchers))
    for name, searcher in searchers.items():
        for scope in _SCOPES:
            retrieved = retrieve(
                plain,
                searcher,
                section,
                documents=[question.document if scope == "document" else None for question in plain],
                withheld=0.0,
                seed=0,
                count_tokens=count_tokens,
            )
            found[ContextKind(scope, name)] = [
                each.given_to(question, section.refusal) for each, question in zip(retrieved, plain, strict=True)
            ]
            progress.advance()
    return found


def _page_texts(index: Index, truths: Iterable[Truth]) -> dict[Truth, list[str]]:
    """Return the texts of the chunks on the pages of truths."""
    wanted: dict[tuple[str, int], list[Truth]] = {}
    found: dict[Truth, list[str]] = {}
    for truth in truths:
        found[truth] = []
        for page in truth.pages:
            wanted.setdefault((truth.document, page), []).append(truth)
    for chunk in index.chunks() if wanted else ():
        for truth in wanted.get((chunk.document, chunk.page), ()):
            if chunk.text not in found[truth]:
                found[truth].append(chunk.text)
    return found


def answer_contexts(
    policy: AnsweringPolicy, contexts: Contexts, refusal: str, *, address: str | None, progress: Progress
) -> dict[ContextKind, list[HeldoutAnswer]]:
    """Answer the questions with each kind of context, by the engines of one start.

    Args:
        refusal: the phrase of a plain refusal.
        address: of a Ray cluster; None starts one on this machine.
    """
    with ray_cluster(address):
        answers = policy.answer(list(chain.from_iterable(contexts.values())), refusal, progress)
    left = iter(answers)
    return {kind: [next(left) for _ in questions] for kind, questions in contexts.items()}


def figures_by_context(
    answers: Mapping[ContextKind, Sequence[HeldoutAnswer]], refusal: str, *, confidence: float = 0.95, seed: int = 0
) -> dict[ContextKind, ContextFigures]:
    """Return the figures of each kind of context, with bootstrap intervals over the questions.

    Args:
        answers: to the same questions with each kind of context, all with gold answers; see `answer_contexts`.
        refusal: the phrase of a plain refusal.
    """
    values = {kind: _values(given, refusal) for kind, given in answers.items()}
    return {
        kind: ContextFigures(
            questions=len(given),
            figures={name: mean_interval(values[kind][name], confidence, seed) for name in MEASURES},
            differences={}
            if kind == GOLD
            else {
                name: paired_difference(values[kind][name], values[GOLD][name], confidence, seed) for name in MEASURES
            },
            failed={each.id: each.failure for each in given if each.failure},
        )
        for kind, given in answers.items()
    }


def _values(answers: Sequence[HeldoutAnswer], refusal: str) -> dict[str, list[float]]:
    return {
        "score": [float(each.score or 0.0) for each in answers],
        "f1": [float(each.f1 or 0.0) for each in answers],
        "contained": [float(bool(each.contained)) for each in answers],
        # Of gold evidence too, which is not retrieved.
        "refused": [float(is_refusal(each.answer, refusal, each.question)) for each in answers],
    }
