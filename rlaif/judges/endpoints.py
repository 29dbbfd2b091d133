"""The endpoints of a judge, and the small question that each is asked before the work.

Invariant: an endpoint that cannot answer ends the work before engines start. The question is sent whatever the response
cache holds, and counts against the limit on money; its reply is kept there, so that the work does not ask it again.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace

from rlaif.chat import visible_answer
from rlaif.data.criteria import Criterion
from rlaif.data.question import Question
from rlaif.inference.limits import Spending
from rlaif.inference.openai_server import OpenAIServer
from rlaif.inference.refusals import Accepted
from rlaif.inference.requests import ModelBackend
from rlaif.inference.response_cache import CachedBackend, ResponseCache, reply_key
from rlaif.judges.llm import LlmSpec
from rlaif.judges.model_client import model_client
from rlaif.judges.pairwise import principle_for
from rlaif.recipe.judge import OpenAIBackend

SMALL_QUESTION = Question("small", "Which number is greater, 1 or 2?", "", "2")
"""What a judge is asked that has nothing to judge yet."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is asked, and whether engines start once it is answered."""

    question: Question = SMALL_QUESTION
    answers: tuple[str, str] = ("2", "1")
    engines: bool = False


def smallest(asked: Sequence[tuple[Question, Sequence[str]]], *, engines: bool) -> Trial:
    """Return the trial that takes the fewest tokens of some questions with their answers."""
    sized = [(len(question.question) + len(question.context) + sum(map(len, answers[:2])), index)
        for index, (question, answers) in enumerate(asked) if len(set(answers[:2])) == 2]  # fmt: skip
    if not sized:
        return Trial(engines=engines)
    question, answers = asked[min(sized)[1]]
    return Trial(question, (answers[0], answers[1]), engines)


class Endpoints:
    """The endpoints of one judge with all its members, opened and closed together."""

    def __init__(self, spending: Spending, cache: ResponseCache | None) -> None:
        self._spending, self._cache = spending, cache
        self._opened = AsyncExitStack()
        self._servers: list[tuple[LlmSpec, OpenAIServer]] = []
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
        """Ask each endpoint once; judges that are answered alike by one model share the question.

        Raises:
            WorkError: an endpoint cannot answer, with its words.
        """
        tried = set()
        for spec, server in self._servers:
            if (key := (server.identity, spec.pairwise, type(spec.front_matter))) in tried:
                continue
            tried.add(key)
            first, second = ((visible_answer(answer) or "").strip() for answer in trial.answers)
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

    def close_also(self, close: Callable[[], Awaitable[None]]) -> None:
        """Close something else at the end."""
        self._opened.push_async_callback(close)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._opened.aclose()
