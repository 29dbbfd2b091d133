"""The endpoints and the user's own code behind a judge, and the small question that each is asked before the work.

Invariant: what cannot answer ends the work before engines start. The question is sent whatever the response cache
holds, and counts against the limit on money; its reply is kept there, so that the work does not ask it again.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from rlaif.chat import visible_answer, visible_text
from rlaif.data.criteria import Criterion
from rlaif.data.question import Question
from rlaif.inference.limits import Spending
from rlaif.inference.openai_server import OpenAIServer
from rlaif.inference.refusals import Accepted
from rlaif.inference.requests import ModelBackend
from rlaif.inference.response_cache import CachedBackend, ResponseCache, reply_key
from rlaif.judges.llm import LlmSpec
from rlaif.judges.model_client import model_client
from rlaif.judges.own_judge import OwnJudge
from rlaif.judges.pairwise import principle_for
from rlaif.prompts.question_prompt import shown_question
from rlaif.recipe.judge import OpenAIBackend

T = TypeVar("T")

SMALL_QUESTION = Question("small", "Which number is greater, 1 or 2?", "", "2")
"""What a judge is asked that has nothing to judge yet."""
SMALL_ANSWERS = ("2", "1")
_OWN_QUESTIONS = 3
"""Questions that the user's own code may fail on before the work ends: it may be made to fail on some."""

Asked = tuple[Question, tuple[str, str]]
"""A question with two answers to it."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is asked, and whether engines start once it is answered.

    Attributes:
        own: questions of the work that the user's own code is asked, which may read what a made-up one lacks, until it
            answers one; () asks the same as endpoints.
    """

    question: Question = SMALL_QUESTION
    answers: tuple[str, str] = SMALL_ANSWERS
    engines: bool = False
    own: tuple[Asked, ...] = ()


def smallest(asked: Sequence[tuple[Question, Sequence[str]]], *, engines: bool) -> Trial:
    """Return the trial that takes the fewest tokens of some questions with their answers."""
    told_apart = [(question, (answers[0], answers[1])) for question, answers in asked if len(set(answers[:2])) == 2]
    if not told_apart:
        return Trial(engines=engines)
    sizes = [
        len(shown_question(question)) + len(question.context) + sum(map(len, both)) for question, both in told_apart
    ]
    question, answers = least = told_apart[sizes.index(min(sizes))]
    return Trial(question, answers, engines, (least, *spread(told_apart)[1:]))


def spread(asked: Sequence[T]) -> tuple[T, ...]:
    """Return the few of all that is to be asked that the user's own code is tried on."""
    return tuple(asked[:: max(1, len(asked) // _OWN_QUESTIONS)][:_OWN_QUESTIONS])


class Endpoints:
    """What one judge with all its members asks beyond our engines, opened and closed together."""

    def __init__(self, spending: Spending, cache: ResponseCache | None) -> None:
        self._spending, self._cache = spending, cache
        self._opened = AsyncExitStack()
        self._servers: list[tuple[LlmSpec, OpenAIServer]] = []
        self._own: list[OwnJudge] = []
        self._accepted: dict[tuple[str, str], Accepted] = {}

    def open(self, spec: LlmSpec, backend: OpenAIBackend) -> ModelBackend:
        """Return what serves the model of a judge.

        Raises:
            UserError: the endpoint's key, or a variable in one of its headers, is not in the environment.
        """
        accepted = self._accepted.setdefault((backend.base_url, backend.model), Accepted())
        server = OpenAIServer(backend, self._spending, accepted)
        self._servers.append((spec, server))
        self._opened.push_async_callback(server.close)
        if self._cache is None:
            return server
        cached = CachedBackend(server, self._cache, together=False)
        self._opened.push_async_callback(cached.close)
        return cached

    async def try_out(self, trial: Trial) -> None:
        """Ask each endpoint and each judge of the user's own once.

        Judges that are answered alike by one model share the question.

        Raises:
            WorkError: one cannot answer, with its words.
        """
        own = [
            (question, [visible_answer(answer) or "" for answer in answers])
            for question, answers in trial.own or ((trial.question, trial.answers),)
        ]
        for judge in self._own:
            await judge.try_out(own, engines=trial.engines)
        tried = set()
        for spec, server in self._servers:
            if (key := (server.identity, spec.pairwise, type(spec.front_matter))) in tried:
                continue
            tried.add(key)
            first, second = map(visible_text, trial.answers)
            shown = {"answer_a": first, "answer_b": second} if spec.pairwise else {"answer": first}
            if spec.all_principles:
                shown["principle"] = principle_for(spec, trial.question.id, first, second)
            # Each question may bring its criteria along, but for the small one.
            criteria = spec.criteria_of(trial.question) or (Criterion("quality"),)
            question = replace(trial.question, criteria=criteria)
            request = model_client(spec, server, criteria).request(spec.render(question, **shown))
            reply = await server.try_out(request, engines=trial.engines)
            if self._cache is not None and reply.failure is None:
                self._cache.put(reply_key(server.identity, request), asdict(reply))

    def add_own(self, judge: OwnJudge) -> OwnJudge:
        """Try a judge of the user's own with the endpoints, and close it with them."""
        self._own.append(judge)
        self._opened.push_async_callback(judge.asker.close)
        return judge

    async def aclose(self) -> None:
        """Close all connections."""
        await self._opened.aclose()
