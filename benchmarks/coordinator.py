"""How fast one driver moves candidates, and whether its memory stays flat, with engines that answer at once.

    python benchmarks/coordinator.py --questions 1000000
    python benchmarks/coordinator.py --questions 20000 --judge finance-panel --runs s3://bucket/bench

Source, dispatcher, judge, sink, shards and pairing are those of a run. The engines are not: they make up each answer
at once, so the remaining time is the coordinator's. Their own share of the time is printed and not subtracted. The
round is then read back: every question must be in the store exactly once. Two ratios of one run are printed: the rate
of its last quarter to that of its first, and the resident memory at its end to that of its first tenth. The pairs are
then made; the peak of resident memory up to then is printed beside their rate.
"""

import argparse
import asyncio
import json
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from rlaif.chat import Messages
from rlaif.data.increments import round_items
from rlaif.data.question import Question
from rlaif.inference.requests import (
    Candidate,
    ChatReply,
    ChatRequest,
    ChoiceReply,
    ChoiceRequest,
    SampleReply,
    SampleRequest,
)
from rlaif.judges.build import build_judge
from rlaif.judges.judge import Judge
from rlaif.judges.judge_file import load_judge_file
from rlaif.preferences.round_pairs import write_pairs
from rlaif.prompts.template import load_template
from rlaif.recipe import PairsSection, SamplingSection
from rlaif.rounds.dispatcher import Dispatcher
from rlaif.rounds.sink import RoundSink
from rlaif.store.rundir import RunDir

_WINDOWS = 20


@dataclass(frozen=True, slots=True)
class Window:
    """The state of the run at one moment.

    Attributes:
        questions: that are judged.
        seconds: since the round began.
        rss: resident memory, in bytes.
    """

    questions: int
    seconds: float
    rss: int


class InstantEngines:
    """Replaces a pool of policy engines; every answer arrives at the next step of the event loop.

    Args:
        tokens: of an answer.
    """

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self.seconds = 0.0

    async def sample(self, request: SampleRequest) -> tuple[SampleReply, int]:
        """Make up the answers to a question, the first one right; no two share a list, as if from another process."""
        await asyncio.sleep(0)
        began = time.perf_counter()
        number = int(request.id.rpartition("-")[2])
        samples = [
            Candidate(
                text=f"Revenue was ${(number + index) % 900 / 10} million in the year.",
                token_ids=list(range(1000 + index, 1000 + index + self._tokens)),
                logprobs=[-0.001 * position for position in range(self._tokens)],
                finish_reason="stop",
                seed=request.seed + index,
            )
            for index in range(request.n)
        ]
        reply = SampleReply(request.id, list(range(500, 500 + 4 * self._tokens)), samples, "0" * 64)
        self.seconds += time.perf_counter() - began
        return reply, 1


class InstantModel:
    """Replaces a judge model's engines; prefers the answer that is shown first."""

    identity = ""

    async def choices(self, requests: Sequence[ChoiceRequest]) -> list[ChoiceReply]:
        """Answer each comparison at once."""
        await asyncio.sleep(0)
        return [ChoiceReply([-0.4, -1.2], 600, 1, 0.0, text=request.choices[0]) for request in requests]

    async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Answer each comparison at once, in words."""
        await asyncio.sleep(0)
        return [ChatReply("The first one is right. [[A]]", "stop", 600, 12, 0.0) for _ in requests]


class InstantModels:
    """Replaces the judges' engine pools."""

    def vllm(self, model: str) -> InstantModel:
        """Return the model, whatever its name."""
        return InstantModel()


class Watch:
    """The progress of the round, which records its state at even steps."""

    def __init__(self, total: int) -> None:
        self._step, self._done = max(1, total // _WINDOWS), 0
        self._process, self._began = psutil.Process(), time.perf_counter()
        self.windows: list[Window] = []

    def stage(self, title: str, total: int, done: int = 0) -> None:
        """Start counting."""
        self._began, self._done = time.perf_counter(), done

    def advance(self, units: int = 1, **figures: float | str) -> None:
        """Count judged questions."""
        self._done += units
        if self._done % self._step == 0:
            self.note()

    def say(self, message: str) -> None:
        """Show one line that stays."""
        print(message)

    def note(self) -> None:
        """Record the current state."""
        seconds = time.perf_counter() - self._began
        self.windows.append(Window(self._done, seconds, self._process.memory_info().rss))


def made_questions(count: int, characters: int) -> list[Question]:
    """Return questions, each with its own context and gold answer."""
    filler = "Revenue, cost of sales and operating income are in millions of dollars. " * (characters // 70 + 1)
    return [
        Question(
            id=f"question-{number:09d}",
            question=f"What was the revenue of company {number} in the year?",
            context=f"{number}: {filler[:characters]}",
            gold_answer=f"${number % 900 / 10} million",
        )
        for number in range(count)
    ]


def judge_of(options: argparse.Namespace) -> Judge:
    """Return the judge; a model that it asks answers at once."""
    return build_judge(load_judge_file(options.judge), InstantModels())


def renderer() -> Callable[[Question], Messages]:
    """Return the function from a question to the policy's chat."""
    file = load_template("answer")
    return lambda question: file.render(question=question.question, context=question.context)


async def drive(options: argparse.Namespace, root: str, questions: list[Question], watch: Watch) -> InstantEngines:
    """Take the questions through one round, as a run does."""
    engines = InstantEngines(options.tokens)
    sampling = SamplingSection(
        candidates=options.candidates, in_flight=options.in_flight, shard_questions=options.shard_questions
    )
    sink = RoundSink(RunDir(root).round(0), sampling.shard_questions)
    dispatcher = Dispatcher(
        engines, judge_of(options), sink, sampling, render=renderer(), seed=0, round_number=0, progress=watch
    )
    await dispatcher.run(round_items(questions, [1.0], 0))
    watch.note()
    return engines


def check_once(root: str, questions: list[Question]) -> None:
    """Assert that the store has every question; `prompt_ids` raises if two shards hold one."""
    sink = RoundSink(RunDir(root).round(0), 1)
    assert sink.candidates.prompt_ids() == {question.id for question in questions}, "not every question is in the store"
    assert not sink.failures.prompt_ids()


def pair(options: argparse.Namespace, root: str, questions: list[Question]) -> None:
    """Make the round's pairs, and print their rate and the memory."""
    by_id = {question.id: question for question in questions}
    directory, judge = RunDir(root).round(0), judge_of(options)
    began = time.perf_counter()
    counts = write_pairs(directory, by_id, judge, PairsSection(), render=renderer())
    seconds = time.perf_counter() - began
    # The system's own count of the peak; the round's windows show how much of it existed before.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"pairing: {counts.pairs:,} pairs of {len(questions):,} questions in {seconds:.1f} s, "
        f"{len(questions) / seconds:,.0f} questions a second; at most {peak:,.0f} MiB resident"
    )


def main() -> None:
    """Run the round and print its figures."""
    parser = argparse.ArgumentParser(description="The coordinator's rate and memory.")
    parser.add_argument("--questions", type=int, default=1_000_000)
    parser.add_argument("--candidates", type=int, default=4, help="of a question")
    parser.add_argument("--tokens", type=int, default=64, help="of an answer")
    parser.add_argument("--context", type=int, default=400, metavar="CHARACTERS", help="of a question's context")
    parser.add_argument("--judge", default="reference", help="name of a judge file; its model answers at once")
    parser.add_argument("--in-flight", type=int, default=1024, help="questions in flight at once")
    parser.add_argument("--shard-questions", type=int, default=64, help="questions of a shard")
    parser.add_argument("--runs", help="folder or URL; a temporary folder if left out")
    parser.add_argument("--json", type=Path, help="write all windows there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = f"{(options.runs or folder).rstrip('/')}/coordinator-{time.time_ns()}"
        questions = made_questions(options.questions, options.context)
        watch = Watch(len(questions))
        watch.note()
        began = time.process_time()
        engines = asyncio.run(drive(options, root, questions, watch))
        processor = time.process_time() - began
        check_once(root, questions)
        loaded, *windows = watch.windows
        _report(options, loaded, windows, engines.seconds, processor)
        pair(options, root, questions)


def _report(
    options: argparse.Namespace, loaded: Window, windows: list[Window], engine_seconds: float, processor: float
) -> None:
    mib, each = 1 << 20, options.candidates
    print(f"{'questions':>12} {'candidates/s':>13} {'RSS MiB':>9}")
    for before, after in zip([Window(0, 0.0, 0), *windows], windows, strict=False):
        if after.questions > before.questions:
            rate = each * (after.questions - before.questions) / (after.seconds - before.seconds)
            print(f"{after.questions:>12,} {rate:>13,.0f} {after.rss / mib:>9,.0f}")
    end = windows[-1]
    tenth = next(window for window in windows if window.questions >= end.questions / 10)
    first = next(window for window in windows if window.questions >= end.questions / 4)
    last = next(window for window in windows if window.questions >= end.questions * 3 / 4)
    early = first.questions / first.seconds
    late = (end.questions - last.questions) / max(end.seconds - last.seconds, 1e-9)
    total = each * end.questions
    print(
        f"{total:,} candidates in {end.seconds:.1f} s: {total / end.seconds:,.0f} a second; "
        f"{total / processor:,.0f} for each second of processor time"
    )
    print(f"the engines' own share of the time: {engine_seconds / end.seconds:.0%}")
    print(f"rate, last quarter to first: {late / early:.2f}x")
    print(f"memory, end to first tenth: {end.rss / tenth.rss:.3f}x ({(end.rss - tenth.rss) / mib:+,.0f} MiB)")
    print(f"memory with the questions loaded, before the round: {loaded.rss / mib:,.0f} MiB")
    if options.json:
        value = {"options": {k: str(v) for k, v in vars(options).items()}, "windows": [asdict(w) for w in windows]}
        options.json.write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    main()
