"""The response cache: no process asks an answered question again; a failed one is asked again."""

import asyncio
import gc
import json
import math
import multiprocessing
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from rlaif.data.question import Question
from rlaif.errors import UserError, WorkError
from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest
from rlaif.inference.response_cache import CachedBackend, ResponseCache, reply_key
from rlaif.judges.build import build_judge
from rlaif.judges.judge_file import load_judge_file

PROMPT = Question("q1", "What were sales?", "Sales were $7 million.")


class Counting:
    """Answers choices by the length of the chat and chats by its text, and counts the requests."""

    def __init__(self, identity: str = "weights") -> None:
        self.identity = identity
        self.asked: list[ChatRequest | ChoiceRequest] = []
        self.calls = 0
        self.failing = False
        self.stopping_after: int | None = None

    def vllm(self, model: str) -> "Counting":
        """Serve every model."""
        return self

    async def choices(self, requests: Sequence[ChoiceRequest]) -> list[ChoiceReply]:
        self.calls += 1
        self.asked += requests
        failure = "down" if self.failing else None
        return [ChoiceReply([] if failure else [-0.25, -math.inf], 100, 1, 0.5, failure, text="A") for _ in requests]

    async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        self.calls += 1
        if self.stopping_after is not None and len(self.asked) >= self.stopping_after:
            raise WorkError("enough is spent")
        self.asked += requests
        await asyncio.sleep(0.01)
        return [ChatReply(f"{request.messages[0]['content']}?", "stop", 100, 10, 0.5) for request in requests]


def chat(text: str, seed: int = 0) -> ChatRequest:
    return ChatRequest([{"role": "user", "content": text}], 8, 1.0, seed)


@pytest.fixture
def cache(tmp_path: Path) -> ResponseCache:
    return ResponseCache(tmp_path / "folder" / "verdicts.sqlite")


def test_a_judge_is_asked_once_and_the_second_time_costs_nothing(cache: ResponseCache) -> None:
    backend, spec = Counting(), load_judge_file("finance-grounded")
    judge = build_judge(spec, backend, cache=cache)
    first, second = (asyncio.run(judge.verdicts(PROMPT, ["x", "y"])) for _ in range(2))
    assert len(backend.asked) == 2
    assert [(v.status, v.preference, v.text) for v in first] == [(v.status, v.preference, v.text) for v in second]
    assert [verdict.prompt_tokens for verdict in first] == [100, 100]
    assert [(verdict.prompt_tokens, verdict.completion_tokens, verdict.seconds) for verdict in second] == [
        (0, 0, 0)
    ] * 2
    asyncio.run(judge.verdicts(PROMPT, ["x", "z"]))
    assert len(backend.asked) == 4


def test_a_report_has_the_cost_of_the_original_request(cache: ResponseCache, tmp_path: Path) -> None:
    backend, spec = Counting(), load_judge_file("finance-grounded")
    asyncio.run(build_judge(spec, backend, cache=cache).verdicts(PROMPT, ["x", "y"]))
    report = ResponseCache(cache.path, free=False)
    verdicts = asyncio.run(build_judge(spec, backend, cache=report).verdicts(PROMPT, ["x", "y"]))
    assert len(backend.asked) == 2
    assert [(verdict.prompt_tokens, verdict.seconds) for verdict in verdicts] == [(100, 0.5)] * 2


def test_a_panels_members_use_earlier_replies(cache: ResponseCache) -> None:
    backend = Counting()
    asyncio.run(build_judge(load_judge_file("finance-grounded"), backend, cache=cache).verdicts(PROMPT, ["x", "y"]))
    asyncio.run(build_judge(load_judge_file("finance-panel"), backend, cache=cache).verdicts(PROMPT, ["x", "y"]))
    assert len(backend.asked) == 2


def test_failures_are_asked_again(cache: ResponseCache) -> None:
    backend = Counting()
    judge = build_judge(load_judge_file("finance-grounded"), backend, cache=cache)
    backend.failing = True
    assert {v.status for v in asyncio.run(judge.verdicts(PROMPT, ["x", "y"]))} == {"error"}
    backend.failing = False
    assert {v.status for v in asyncio.run(judge.verdicts(PROMPT, ["x", "y"]))} == {"ok"}


def test_engines_without_a_name_for_their_weights_are_always_asked(cache: ResponseCache) -> None:
    backend = Counting(identity="")
    judge = build_judge(load_judge_file("finance-grounded"), backend, cache=cache)
    for _ in range(2):
        asyncio.run(judge.verdicts(PROMPT, ["x", "y"]))
    assert len(backend.asked) == 4


def test_a_choice_that_was_kept_before_its_beginning_was_is_read(cache: ResponseCache) -> None:
    backend, spec = Counting(), load_judge_file("finance-grounded")
    asyncio.run(build_judge(spec, backend, cache=cache).verdicts(PROMPT, ["x", "y"]))
    with closing(sqlite3.connect(cache.path)) as connection, connection:
        for key, reply in connection.execute("SELECT key, reply FROM replies").fetchall():
            kept = json.loads(reply)
            del kept["text_logprob"]
            connection.execute("UPDATE replies SET reply = ? WHERE key = ?", (json.dumps(kept), key))
    verdicts = asyncio.run(build_judge(spec, backend, cache=cache).verdicts(PROMPT, ["x", "y"]))
    assert len(backend.asked) == 2
    assert [(verdict.status, verdict.mass) for verdict in verdicts] == [("ok", pytest.approx(math.exp(-0.25)))] * 2


def test_keys_of_earlier_versions_still_work() -> None:
    """A cache that an earlier version filled is still read."""
    messages = [{"role": "user", "content": "x"}]
    kept = reply_key("m", ChoiceRequest(messages, ("A", "B"), "I say "))
    assert kept == "32eecc94bc63a8955311e3113c629fa4c88a53b024194d764c682b5345bfeeb0"
    kept = reply_key("m", ChatRequest(messages, 8, 0.5, 3, None))
    assert kept == "915a16b7b5b3074789e4e6f60e5e8631bfe8c7d60eff68ef8b3cd67bbd298176"


def test_a_key_holds_all_that_decides_an_answer() -> None:
    base = ChatRequest([{"role": "user", "content": "x"}], 8, 0.5, 1, None)
    others = [
        ChatRequest([{"role": "system", "content": "x"}], 8, 0.5, 1), ChatRequest(base.messages, 9, 0.5, 1),
        ChatRequest(base.messages, 8, None, 1), ChatRequest(base.messages, 8, 0.5, 2),
        ChatRequest(base.messages, 8, 0.5, 1, "{}"),
    ]  # fmt: skip
    choice = ChoiceRequest(base.messages, ("A", "B"))
    choices = [choice, ChoiceRequest(base.messages, ("B", "A")), ChoiceRequest(base.messages, ("A", "B"), "I say ")]
    keys = [reply_key("weights", request) for request in [base, *others, *choices]] + [reply_key("others", base)]
    assert len(set(keys)) == len(keys)
    assert reply_key("weights", ChatRequest([{"content": "x", "role": "user"}], 8, 0.5, 1)) == keys[0]


def test_questions_that_belong_together_are_asked_in_one_call_and_others_each_alone(cache: ResponseCache) -> None:
    requests = [chat("a"), chat("b"), chat("c")]
    for together, calls in ((True, 1), (False, 3)):
        backend = Counting(identity=f"weights {together}")
        replies = asyncio.run(CachedBackend(backend, cache, together=together).chats(requests))
        assert [reply.text for reply in replies] == ["a?", "b?", "c?"]
        assert backend.calls == calls


def test_a_question_in_flight_is_not_sent_again(cache: ResponseCache) -> None:
    backend = Counting()
    cached = CachedBackend(backend, cache, together=False)

    async def twice() -> list[list[ChatReply]]:
        return list(await asyncio.gather(cached.chats([chat("a"), chat("a")]), cached.chats([chat("a"), chat("b")])))

    first, second = asyncio.run(twice())
    assert len(backend.asked) == 2
    assert [reply.text for reply in first + second] == ["a?", "a?", "a?", "b?"]
    assert [reply.prompt_tokens for reply in first + second] == [100, 0, 0, 100]


def test_a_paid_answer_is_kept_if_the_next_question_stops_the_work(cache: ResponseCache) -> None:
    backend = Counting()
    backend.stopping_after = 2
    cached = CachedBackend(backend, cache, together=False)
    with pytest.raises(WorkError, match="enough is spent"):
        asyncio.run(cached.chats([chat("a"), chat("b"), chat("c")]))
    backend.stopping_after = None
    assert [reply.prompt_tokens for reply in asyncio.run(cached.chats([chat("a"), chat("b"), chat("c")]))] == [
        0,
        0,
        100,
    ]


def test_an_error_without_a_waiter_is_not_printed(cache: ResponseCache) -> None:
    class Failing(Counting):
        async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
            await asyncio.sleep(0.01)
            self.calls += 1
            raise WorkError("enough is spent")

    backend = Failing()
    cached = CachedBackend(backend, cache, together=False)
    complaints: list[object] = []

    async def left() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        waiting = asyncio.create_task(cached.chats([chat("a")]))
        await asyncio.sleep(0.001)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(0.1)
        gc.collect()

    gc.collect()  # Clients that other tests left open would log errors in this loop.
    asyncio.run(left())
    assert (backend.calls, complaints) == (1, [])


def test_log_probabilities_come_back_to_the_last_bit(cache: ResponseCache) -> None:
    cached = CachedBackend(Counting(), cache, together=True)
    request = ChoiceRequest([{"role": "user", "content": "x"}], ("A", "B"))
    assert [asyncio.run(cached.choices([request]))[0].logprobs for _ in range(2)] == [[-0.25, -math.inf]] * 2


def _fill(path: Path, worker: int) -> None:
    cache = ResponseCache(path)
    for index in range(100):
        cache.put(f"shared {index}", {"by": "any"})
        cache.put(f"{worker} {index}", {"by": worker})


def test_several_processes_may_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.sqlite"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(path, worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    cache = ResponseCache(path)
    assert all(cache.get(f"{worker} {index}") == {"by": worker} for worker in range(3) for index in range(100))
    assert cache.get("nothing") is None


def test_the_cache_lies_in_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RLAIF_CACHE", str(tmp_path))
    assert ResponseCache().path == tmp_path / "verdicts.sqlite"


def test_a_file_that_is_not_a_cache_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.sqlite"
    path.write_bytes(b"this is a text and not a database" * 100)
    with pytest.raises(UserError, match=r"verdicts\.sqlite: the verdict cache cannot be opened: .*RLAIF_CACHE"):
        ResponseCache(path)


def test_a_cache_that_breaks_later_stops_the_work(cache: ResponseCache) -> None:
    with sqlite3.connect(cache.path) as connection:
        connection.execute("DROP TABLE replies")
    with pytest.raises(WorkError, match="cannot be read"):
        cache.get("x")
    with pytest.raises(WorkError, match="cannot be written"):
        cache.put("x", {})
