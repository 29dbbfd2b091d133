"""Reranking by a judge that rates each chunk as if it were an answer to the query.

Invariant: a chunk that the judge could not rate has no score; it is never a low one.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager

from rlaif.data.question import Question
from rlaif.documents.document import Chunk
from rlaif.errors import UserError
from rlaif.judges.judge import Judge
from rlaif.judges.llm import LlmSpec
from rlaif.judges.own_judge import OwnSpec
from rlaif.judges.rating import RewardModelSpec
from rlaif.judges.serving import Serving
from rlaif.judges.session import JudgeSession, shown_bytes
from rlaif.judges.spec import JudgeSpec
from rlaif.progress import Progress


async def judge_scores(judge: Judge, query: str, chunks: Sequence[Chunk]) -> list[float | None]:
    """Return a judge's rating of each chunk as an answer to the query; None where it gave none."""
    question = Question(id="query", question=query)
    verdicts = await judge.verdicts(question, [chunk.text for chunk in chunks])
    rated = {verdict.first: verdict.score for verdict in verdicts if verdict.second is None}
    return [rated.get(index) for index in range(len(chunks))]


def check_reranks(spec: JudgeSpec) -> None:
    """Raise UserError unless a judge can rate one answer without a gold answer."""
    compares = isinstance(spec, LlmSpec) and spec.pairwise
    if compares or not isinstance(spec, LlmSpec | OwnSpec | RewardModelSpec):
        raise UserError(f"{spec.path}: cannot rate one passage by itself; expected a judge of kind pointwise")


class JudgeReranker:
    """Asks a judge outside any event loop; see `judge_reranker`."""

    def __init__(self, judge: Judge, runner: asyncio.Runner) -> None:
        self._judge, self._runner = judge, runner

    def scores(self, query: str, chunks: Sequence[Chunk]) -> list[float | None]:
        """See `Reranker`."""
        return self._runner.run(judge_scores(self._judge, query, chunks))


@contextmanager
def judge_reranker(spec: JudgeSpec, serving: Serving, progress: Progress, *, longest: int) -> Iterator[JudgeReranker]:
    """Serve a judge for a block, outside any run and any event loop.

    Args:
        longest: most bytes of a query and a chunk together.

    Raises:
        UserError: the judge does not rate one answer by itself, or a model that it asks does not exist.
        WorkError: what the judge asks cannot answer.
    """
    check_reranks(spec)
    longest_shown = shown_bytes(Question(id="query", question="x" * longest), [])
    session = JudgeSession([spec], serving, progress, longest=longest_shown)
    stack = AsyncExitStack()

    async def opened() -> Judge:
        await stack.enter_async_context(aclosing(session))
        return await stack.enter_async_context(session.open_judge(spec, free=False))

    # One loop for all queries: the judge's connections and engines belong to it.
    with asyncio.Runner() as runner:
        try:
            yield JudgeReranker(runner.run(opened()), runner)
        finally:
            runner.run(stack.aclose())
