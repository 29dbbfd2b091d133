"""Sampling and judging a round: every question once, at most so many in flight, and resuming after any end.

Coroutines that answer later replace the engines; the judge and the store are the real ones."""

import asyncio
import errno
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest

from rlaif.data.question import Question
from rlaif.errors import WorkError, is_disk_full
from rlaif.inference.requests import Backends, Candidate, SampleReply, SampleRequest
from rlaif.judges.build import build_judge
from rlaif.judges.judge import Comparison, Decision, Verdict
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.rating import ReferenceJudge, ReferenceSpec
from rlaif.progress import Silent
from rlaif.recipe import SamplingSection
from rlaif.rounds.dispatcher import Dispatcher, RoundCounts, question_seed
from rlaif.rounds.sink import RoundSink
from rlaif.store import shards
from rlaif.store.rundir import RunDir
from tests.endpoint import Exchange, endpoint
from tests.full_disk import full_disk
from tests.own_judges import http_judge

CANDIDATES = 3
TOO_LONG = "prompt of 9000 tokens and an answer of up to 256 exceed the context of 2048"


class Engines:
    """Answers each request after a few steps of the event loop; questions named `long-...` do not fit the context.

    Attributes:
        asked: how often each question was sampled.
        seeds: the seed of each question's request.
        most: the most requests in flight at once.
        dies_at: the request, counted from 0, at which all engines are lost; None for never.
    """

    def __init__(self, dies_at: int | None = None) -> None:
        self.asked: Counter[str] = Counter()
        self.seeds: dict[str, int] = {}
        self.most, self.dies_at, self._now = 0, dies_at, 0

    async def sample(self, request: SampleRequest) -> tuple[SampleReply, int]:
        number = self.asked.total()
        self.asked[request.id] += 1
        self.seeds[request.id] = request.seed
        self._now += 1
        self.most = max(self.most, self._now)
        for _ in range(1 + number % 5):
            await asyncio.sleep(0)
        self._now -= 1
        if self.dies_at is not None and number >= self.dies_at:
            raise WorkError("the policy's engines do not start: no weights")
        if request.id.startswith("long"):
            return SampleReply(request.id, [], [], "policy", failure=TOO_LONG), 1
        samples = [Candidate(f"${index}", [5, index], [-0.5, -1.0], "stop", request.seed + index) for index in range(3)]
        return SampleReply(request.id, [1, 2], samples, "policy"), 2


class CountedJudge:
    """The exact check, which counts its questions; it can refuse all from a given question on."""

    def __init__(self, fails_at: int | None = None) -> None:
        spec = load_judge_file("reference")
        assert isinstance(spec, ReferenceSpec)
        self._inner = ReferenceJudge(spec)
        self.name, self.sha = self._inner.name, self._inner.sha
        self.asked: Counter[str] = Counter()
        self._fails_at = fails_at

    async def verdicts(
        self, prompt: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        if self._fails_at is not None and self.asked.total() >= self._fails_at:
            raise WorkError("the judge's engines do not start")
        self.asked[prompt.id] += 1
        await asyncio.sleep(0)
        return await self._inner.verdicts(prompt, answers, comparisons)

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        return self._inner.decide(prompt_id, count, verdicts)


class FailingJudge(CountedJudge):
    """Fails on some questions, as an endpoint that is out of order."""

    def __init__(self, failing: set[str], fails_at: int | None = None) -> None:
        super().__init__(fails_at)
        self._failing = failing

    async def verdicts(
        self, prompt: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        found = await super().verdicts(prompt, answers, comparisons)
        if prompt.id not in self._failing:
            return found
        return [replace(verdict, status="error", score=None, text="HTTP 500") for verdict in found]


class Seen(Silent):
    """Keeps what is reported of the stage and its progress."""

    def __init__(self) -> None:
        self.total = self.before = self.units = 0

    def stage(self, title: str, total: int, done: int = 0) -> None:
        self.total, self.before = total, done

    def advance(self, units: int = 1, **figures: float | str) -> None:
        self.units += units


def prompts(*names: str) -> list[Question]:
    return [Question(name, f"What is {name}?", gold_answer="$1") for name in names]


def numbered(count: int) -> list[Question]:
    return prompts(*(f"q{number}" for number in range(count)))


def sink_of(root: Path, shard: int = 1) -> RoundSink:
    return RoundSink(RunDir(str(root)).round(0), shard)


def dispatch(
    root: Path,
    todo: Sequence[Question],
    engines: Engines,
    judge: CountedJudge,
    in_flight: int = 4,
    shard: int = 3,
    progress: Seen | None = None,
) -> RoundCounts:
    section = SamplingSection(candidates=CANDIDATES, in_flight=in_flight, shard_questions=shard)
    engine: Any = engines  # Of a pool it only needs `sample`.
    dispatcher = Dispatcher(engine, judge, sink_of(root, shard), section, progress=progress or Seen(), **ROUND)
    return asyncio.run(dispatcher.run(todo))


def _render(prompt: Question) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt.question}]


ROUND: Any = {"render": _render, "seed": 7, "round_number": 0}


def assert_once(root: Path, todo: Sequence[Question]) -> None:
    """Assert that every question is in the store once: with all its candidates and verdicts, or as a failure."""
    sink = sink_of(root)
    good = [prompt.id for prompt in todo if not prompt.id.startswith("long")]
    bad = [prompt.id for prompt in todo if prompt.id.startswith("long")]
    for table, rows_each, expected in (
        (sink.candidates, CANDIDATES, good),
        (sink.failures, 1, bad),
        (sink.verdicts, CANDIDATES, good),
    ):
        rows = Counter(row["prompt_id"] for shard in table.shards() for row in shard.to_pylist())
        assert rows == Counter(dict.fromkeys(expected, rows_each))


def test_every_question_is_sampled_and_judged_once(tmp_path: Path) -> None:
    engines, judge, progress = Engines(), CountedJudge(), Seen()
    counts = dispatch(tmp_path, numbered(20), engines, judge, progress=progress)
    assert_once(tmp_path, numbered(20))
    assert (counts.sampled, counts.judged, counts.failed, counts.retries) == (20, 20, 0, 20)
    assert counts.tokens == 20 * CANDIDATES * 2
    assert counts.statuses == {"ok": 20 * CANDIDATES}
    assert (progress.total, progress.before, progress.units) == (20, 0, 20)


def test_judges_see_what_is_visible_and_the_store_keeps_the_whole_answer(tmp_path: Path) -> None:
    texts = ["<think>$2?</think>$1", "<think>$1, or", "$1"]

    class Thinking(Engines):
        async def sample(self, request: SampleRequest) -> tuple[SampleReply, int]:
            samples = [Candidate(text, [5], [-0.5], "stop", number) for number, text in enumerate(texts)]
            return SampleReply(request.id, [1, 2], samples, "policy"), 1

    judge: Any = build_judge(load_judge_file("reference"), cast("Backends", None))
    dispatch(tmp_path, prompts("q"), Thinking(), judge)
    sink = sink_of(tmp_path)
    assert [row["text"] for shard in sink.candidates.shards() for row in shard.to_pylist()] == texts
    assert [row["score"] for shard in sink.verdicts.shards() for row in shard.to_pylist()] == [1.0, 0.0, 1.0]


def test_a_second_start_samples_nothing(tmp_path: Path) -> None:
    dispatch(tmp_path, numbered(10), Engines(), CountedJudge())
    engines, judge, progress = Engines(), CountedJudge(), Seen()
    counts = dispatch(tmp_path, numbered(10), engines, judge, progress=progress)
    assert not engines.asked
    assert not judge.asked
    assert (counts.sampled, counts.judged) == (0, 0)
    assert (progress.total, progress.before, progress.units) == (10, 10, 0)


@pytest.mark.parametrize("in_flight", [1, 3, 8, 100])
def test_no_more_are_in_flight_than_allowed(tmp_path: Path, in_flight: int) -> None:
    engines = Engines()
    dispatch(tmp_path, numbered(30), engines, CountedJudge(), in_flight=in_flight)
    assert engines.most == min(in_flight, 30)


def test_questions_are_sampled_in_the_given_order(tmp_path: Path) -> None:
    engines = Engines()
    todo = prompts("c", "a", "b")
    dispatch(tmp_path, todo, engines, CountedJudge(), in_flight=1)
    assert list(engines.asked) == ["c", "a", "b"]


def test_judging_does_not_wait_for_the_last_sample(tmp_path: Path) -> None:
    judged_when_sampled: list[int] = []
    judge = CountedJudge()

    class Watching(Engines):
        async def sample(self, request: SampleRequest) -> tuple[SampleReply, int]:
            judged_when_sampled.append(judge.asked.total())
            return await super().sample(request)

    dispatch(tmp_path, numbered(20), Watching(), judge, in_flight=2)
    assert judged_when_sampled[-1] >= 17


def test_a_question_that_does_not_fit_is_named_and_the_rest_continues(tmp_path: Path) -> None:
    todo = prompts("q0", "long-a", "q1", "long-b", "q2")
    counts = dispatch(tmp_path, todo, Engines(), CountedJudge())
    assert_once(tmp_path, todo)
    assert (counts.sampled, counts.failed) == (3, 2)
    assert sorted(counts.failures) == [("long-a", TOO_LONG), ("long-b", TOO_LONG)]
    rows = [row for shard in sink_of(tmp_path).failures.shards() for row in shard.to_pylist()]
    assert {(row["prompt_id"], row["stage"], row["reason"], row["attempts"]) for row in rows} == {
        ("long-a", "sample", TOO_LONG, 1),
        ("long-b", "sample", TOO_LONG, 1),
    }
    # The failure is final: another start does not try again.
    engines = Engines()
    dispatch(tmp_path, todo, engines, CountedJudge())
    assert not engines.asked


@pytest.mark.parametrize("dies_at", [0, 1, 7, 19])
def test_a_failed_start_keeps_its_candidates(tmp_path: Path, dies_at: int) -> None:
    with pytest.raises(WorkError, match=r"^the policy's engines do not start: no weights$"):
        dispatch(tmp_path, numbered(20), Engines(dies_at), CountedJudge())
    sampled = sink_of(tmp_path).candidates.prompt_ids()
    assert len(sampled) <= dies_at
    engines = Engines()
    dispatch(tmp_path, numbered(20), engines, CountedJudge())
    assert_once(tmp_path, numbered(20))
    assert not sampled & set(engines.asked)


def test_questions_on_which_the_judge_failed_are_asked_again_if_the_work_stopped(tmp_path: Path) -> None:
    todo, failing = numbered(8), {"q1", "q3"}
    with pytest.raises(WorkError, match="do not start"):
        dispatch(tmp_path, todo, Engines(), FailingJudge(failing, fails_at=6), in_flight=1)
    assert sink_of(tmp_path).verdicts.prompt_ids() == {"q0", "q2", "q4", "q5"}
    judge = CountedJudge()
    dispatch(tmp_path, todo, Engines(), judge)
    assert judge.asked == Counter(["q1", "q3", "q6", "q7"])
    assert sink_of(tmp_path).verdicts.prompt_ids() == {question.id for question in todo}


def test_a_share_of_errors_ends_a_round_and_what_is_judged_is_kept(tmp_path: Path) -> None:
    todo, healed = numbered(40), list[bool]()

    def answer(exchange: Exchange, number: int) -> None:
        well = int(exchange.server.requests[number - 1]["id"][1:]) < 6 or healed
        exchange.send(200, b'{"scores": [1, 2, 3]}') if well else exchange.send(500, b"down")

    with endpoint(answer) as server:
        path = http_judge(tmp_path, server, "concurrency: 1")
        judge: Any = build_judge(load_judge_file(str(path)), cast("Backends", None))
        with pytest.raises(WorkError, match=r"judge url: 14 of the last 20 questions failed.*HTTP 500: down"):
            dispatch(tmp_path, todo, Engines(), judge, in_flight=1)
        assert sink_of(tmp_path).verdicts.prompt_ids() == {f"q{number}" for number in range(6)}
        healed.append(True)
        judge = build_judge(load_judge_file(str(path)), cast("Backends", None))
        dispatch(tmp_path, todo, Engines(), judge, in_flight=1)
    assert_once(tmp_path, todo)
    assert len(server.requests) == 20 + 34


def test_errors_of_work_that_ends_are_kept_and_not_asked_again(tmp_path: Path) -> None:
    todo, failing = numbered(8), {"q1", "q3"}
    dispatch(tmp_path, todo, Engines(), FailingJudge(failing))
    rows = [row for _, rows in sink_of(tmp_path).verdicts.by_prompt() for row in rows]
    assert {row["prompt_id"] for row in rows if row["status"] == "error"} == failing
    judge = CountedJudge()
    dispatch(tmp_path, todo, Engines(), judge)
    assert not judge.asked


def test_unjudged_candidates_are_judged_first(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="the judge's engines"):
        dispatch(tmp_path, numbered(12), Engines(), CountedJudge(fails_at=4))
    sink = sink_of(tmp_path)
    unjudged = sink.candidates.prompt_ids() - sink.verdicts.prompt_ids()
    assert unjudged
    engines, judge = Engines(), CountedJudge()
    dispatch(tmp_path, numbered(12), engines, judge)
    assert_once(tmp_path, numbered(12))
    assert set(list(judge.asked)[: len(unjudged)]) == unjudged
    assert not unjudged & set(engines.asked)


@pytest.mark.parametrize("turns", [0, 3, 10, 25])
def test_a_cancelled_start_is_resumed(tmp_path: Path, turns: int) -> None:
    async def cancel() -> None:
        section = SamplingSection(candidates=CANDIDATES, in_flight=4, shard_questions=3)
        engine: Any = Engines()
        dispatcher = Dispatcher(engine, CountedJudge(), sink_of(tmp_path, 3), section, progress=Seen(), **ROUND)
        task = asyncio.ensure_future(dispatcher.run(numbered(20)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(cancel())
    dispatch(tmp_path, numbered(20), Engines(), CountedJudge())
    assert_once(tmp_path, numbered(20))


@pytest.mark.parametrize("todo", [numbered(20), prompts("long-a", "q0", "long-b", "q1", "long-c", "q2")])
def test_a_full_disk_is_named_and_loses_nothing(tmp_path: Path, todo: list[Question]) -> None:
    with full_disk(100), pytest.raises(OSError) as refused:  # noqa: PT011  # Which one is asserted below.
        dispatch(tmp_path, todo, Engines(), CountedJudge())
    assert is_disk_full(refused.value)
    assert str(tmp_path) in refused.value.filename
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    dispatch(tmp_path, todo, Engines(), CountedJudge())
    assert_once(tmp_path, todo)


@pytest.mark.parametrize("table", ["candidates", "failures", "verdicts"])
def test_a_disk_with_room_again_at_the_end_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """One write fails; the gathered rows are committed at the end, when there is room again."""
    todo = [*numbered(6), *prompts("long-a", "long-b", "long-c"), *prompts("r0", "r1")]
    write = shards.write_table
    failed: list[str] = []

    def fails_once(path: str, rows: pa.Table) -> None:
        if f"/{table}/" in path and not failed:
            failed.append(path)
            raise OSError(errno.ENOSPC, "No space left on device", path)
        write(path, rows)

    monkeypatch.setattr(shards, "write_table", fails_once)
    with pytest.raises(OSError, match="No space left"):
        dispatch(tmp_path, todo, Engines(), CountedJudge())
    dispatch(tmp_path, todo, Engines(), CountedJudge())
    assert_once(tmp_path, todo)


def test_questions_of_another_round_are_refused(tmp_path: Path) -> None:
    dispatch(tmp_path, numbered(5), Engines(), CountedJudge())
    with pytest.raises(WorkError, match=r"question q3 is not one of this round's"):
        dispatch(tmp_path, numbered(3), Engines(), CountedJudge())


def test_a_question_with_candidates_and_a_failure_is_refused(tmp_path: Path) -> None:
    dispatch(tmp_path, numbered(2), Engines(), CountedJudge())
    sink_of(tmp_path).failures.append([{"prompt_id": "q1", "stage": "sample", "reason": "?", "attempts": 1}])
    with pytest.raises(WorkError, match=r"question q1 has candidates and a failure"):
        dispatch(tmp_path, numbered(2), Engines(), CountedJudge())


def test_a_questions_seed_is_its_own(tmp_path: Path) -> None:
    """It is the same on any machine, in any order and version, and differs between questions, rounds and runs."""
    assert question_seed(0, 0, "q0") == 0xD4EA84C39C1F
    seeds = {question_seed(seed, number, name) for seed in (0, 1) for number in (0, 1) for name in ("q0", "q1")}
    assert len(seeds) == 8
    engines = Engines()
    dispatch(tmp_path, numbered(5), engines, CountedJudge())
    assert engines.seeds == {f"q{number}": question_seed(7, 0, f"q{number}") for number in range(5)}
