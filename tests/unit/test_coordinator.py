"""From source to pairs with instant engines: every question once, despite failures, on a disk or in an object store."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.data.question import Question
from rlaif.errors import WorkError
from rlaif.inference.requests import Candidate, SampleReply, SampleRequest
from rlaif.judges.decisions import decide_by_orders, own_verdicts
from rlaif.judges.judge import Comparison, Decision, Verdict
from rlaif.preferences import round_rows
from rlaif.preferences.round_pairs import write_pairs
from rlaif.progress import Silent
from rlaif.recipe import PairsSection, SamplingSection
from rlaif.rounds import sink as sinks
from rlaif.rounds.dispatcher import Dispatcher
from rlaif.rounds.sink import RoundSink
from rlaif.store import shards
from rlaif.store.rundir import RunDir
from rlaif.store.shards import joined

CANDIDATES = 2
ROUND: Any = {"render": lambda question: [], "seed": 0, "round_number": 0, "progress": Silent()}


class Engines:
    """Answers in a later step of the event loop; a question whose id ends in 7 cannot be sampled."""

    def __init__(self, seed: int = 0) -> None:
        self.asked: Counter[str] = Counter()
        self._random = random.Random(seed)

    async def sample(self, request: SampleRequest) -> tuple[SampleReply, int]:
        self.asked[request.id] += 1
        for _ in range(self._random.randrange(4)):
            await asyncio.sleep(0)
        if request.id.endswith("7"):
            return SampleReply(request.id, [], [], "p", failure="too long"), 1
        samples = [Candidate(f"{request.id} {i}", [i], [-0.5], "stop", request.seed + i) for i in range(request.n)]
        return SampleReply(request.id, [1, 2], samples, "p"), 1


class Judge:
    """Prefers the first candidate."""

    name, sha = "first", "0"

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    async def verdicts(
        self, prompt: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        self.asked[prompt.id] += 1
        await asyncio.sleep(0)
        assert answers == [f"{prompt.id} {index}" for index in range(CANDIDATES)]
        return [Verdict(prompt.id, 0, 1, "ok", 1.0, None, "", self.name, self.sha)]

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        return decide_by_orders(own_verdicts(self, prompt_id, verdicts), ("single",))


def prompts(count: int) -> list[Question]:
    return [Question(f"q{number}", "?") for number in range(count)]


def dispatch(root: str, count: int, engines: Engines, judge: Judge, in_flight: int = 6, shard: int = 3) -> None:
    sampling = SamplingSection(candidates=CANDIDATES, in_flight=in_flight, shard_questions=shard)
    sink = RoundSink(RunDir(root).round(0), shard)
    dispatcher = Dispatcher(engines, judge, sink, sampling, **ROUND)
    asyncio.run(dispatcher.run(prompts(count)))


def once(root: str, count: int) -> None:
    """Assert that every question occurs once: with its candidates and its verdict, or as a failure."""
    sink = RoundSink(RunDir(root).round(0), 1)
    ids = [prompt.id for prompt in prompts(count)]
    good, bad = [i for i in ids if not i.endswith("7")], [i for i in ids if i.endswith("7")]
    assert _rows(sink.candidates, "candidate") == sorted((i, c) for i in good for c in range(CANDIDATES))
    assert _rows(sink.verdicts, "first") == sorted((i, 0) for i in good)
    assert _rows(sink.failures, "attempts") == sorted((i, 1) for i in bad)


def _rows(table: shards.ShardTable, column: str) -> list[tuple[str, int]]:
    return sorted((row["prompt_id"], row[column]) for shard in table.shards() for row in shard.to_pylist())


def test_every_question_is_sampled_and_judged_once(tmp_path: Path) -> None:
    engines, judge = Engines(), Judge()
    dispatch(str(tmp_path), 40, engines, judge)
    once(str(tmp_path), 40)
    assert set(engines.asked.values()) == set(judge.asked.values()) == {1}
    # A second start finds everything done and samples nothing.
    dispatch(str(tmp_path), 40, engines, judge)
    assert engines.asked.total() == 40


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 30),
    in_flight=st.integers(1, 12),
    shard=st.integers(1, 8),
    broken=st.sets(st.integers(0, 12), max_size=4),
    seed=st.integers(0, 100),
)
def test_failed_writes_lose_and_repeat_nothing(
    tmp_path_factory: pytest.TempPathFactory, count: int, in_flight: int, shard: int, broken: set[int], seed: int
) -> None:
    root = str(tmp_path_factory.mktemp("run"))
    written = shards.write_table
    number = 0

    def write(where: str, table: object) -> None:
        nonlocal number
        number += 1
        if number - 1 in broken:
            raise OSError(28, "No space left on device", where)
        written(where, table)  # type: ignore[arg-type]

    engines, judge = Engines(seed), Judge()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "write_table", write)
        for _ in range(len(broken) + 1):
            with contextlib.suppress(OSError):
                dispatch(root, count, engines, judge, in_flight, shard)
            _verdicts_have_candidates(root)
    once(root, count)


def _verdicts_have_candidates(root: str) -> None:
    sink = RoundSink(RunDir(root).round(0), 1)
    assert sink.verdicts.prompt_ids() <= sink.candidates.prompt_ids()
    assert not sink.candidates.prompt_ids() & sink.failures.prompt_ids()


@settings(max_examples=15, deadline=None)
@given(turns=st.integers(0, 60), seed=st.integers(0, 100))
def test_a_cancelled_start_commits_its_gathered_questions(
    tmp_path_factory: pytest.TempPathFactory, turns: int, seed: int
) -> None:
    root = str(tmp_path_factory.mktemp("run"))
    engines, judge = Engines(seed), Judge()

    async def cancelled() -> None:
        sampling = SamplingSection(candidates=CANDIDATES, in_flight=4, shard_questions=2)
        sink = RoundSink(RunDir(root).round(0), 2)
        dispatcher = Dispatcher(engines, judge, sink, sampling, **ROUND)
        task = asyncio.ensure_future(dispatcher.run(prompts(20)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        sampled = sink.candidates.prompt_ids() | sink.failures.prompt_ids()
        # Questions with a reply are committed; only those in flight are sampled again.
        assert len(set(engines.asked) - sampled) <= 4

    asyncio.run(cancelled())
    _verdicts_have_candidates(root)
    dispatch(root, 20, engines, judge, 4, 2)
    once(root, 20)


def test_an_object_store_holds_the_same(tmp_path: Path) -> None:
    root = f"memory://{uuid4().hex}"
    dispatch(root, 25, Engines(), Judge())
    once(root, 25)


def test_gathered_questions_are_bounded_while_a_shard_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_flight, shard, most = 8, 4, 0
    commit = sinks.RoundSink._commit

    def watched(self: RoundSink, gathered: sinks._Gathered) -> None:
        nonlocal most
        most = max(most, len(gathered.candidates), gathered.judged)
        commit(self, gathered)

    monkeypatch.setattr(sinks.RoundSink, "_commit", watched)
    dispatch(str(tmp_path), 200, Engines(), Judge(), in_flight, shard)
    once(str(tmp_path), 200)
    assert shard <= most <= shard + in_flight


def test_a_question_of_another_round_is_refused(tmp_path: Path) -> None:
    dispatch(str(tmp_path), 5, Engines(), Judge())
    with pytest.raises(WorkError, match="not one of this round's"):
        dispatch(str(tmp_path), 3, Engines(), Judge())


def test_pairs_do_not_depend_on_the_order_in_which_questions_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    for seed, shard, at_once in ((0, 3, 8192), (1, 2, 4), (2, 64, 1)):
        monkeypatch.setattr(round_rows, "_QUESTIONS_PER_RANGE", at_once)
        root = str(tmp_path / str(seed))
        dispatch(root, 30, Engines(seed), Judge(), shard=shard)
        directory, by_id = RunDir(root).round(0), {prompt.id: prompt for prompt in prompts(30)}
        counts = write_pairs(directory, by_id, Judge(), PairsSection(), render=lambda prompt: [])
        table = shards.read_table(directory.path("pairs.parquet"))
        assert counts.pairs == counts.prompts == table.num_rows == 27
        assert table["prompt_id"].to_pylist() == sorted(by_id.keys() - {"q7", "q17", "q27"})
        written.append(table)
    assert written[0].equals(written[1])
    assert written[0].equals(written[2])


def test_a_table_joins_another_with_its_questions_in_another_order(tmp_path: Path) -> None:
    schema = pa.schema([("prompt_id", pa.string()), ("n", pa.int32())])
    left, right = (shards.ShardTable(str(tmp_path / name), schema) for name in ("left", "right"))
    for ids in ("ab", "cd", "e"):
        left.append([{"prompt_id": i, "n": n} for i in ids for n in (0, 1)])
    for ids in ("e", "db", "a"):
        right.append([{"prompt_id": i, "n": n} for i in ids for n in (7, 8)])
    found = {i: ([row["n"] for row in ours], [row["n"] for row in theirs]) for i, ours, theirs in joined(left, right)}
    assert list(found) == list("abcde")
    assert found == {i: ([0, 1], [] if i == "c" else [7, 8]) for i in "abcde"}
