"""The loop: a run from its recipe to its last policy, from wherever it was left.

Invariant: the same command, given again after any end, continues with the first stage that is not done.
"""

import asyncio
import time
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, replace

import pyarrow as pa

from rlaif.cluster.ray_cluster import ray_cluster, uses_gpus
from rlaif.errors import RlaifError
from rlaif.inference.pools import RunPools
from rlaif.inference.response_cache import ResponseCache
from rlaif.io.files import names
from rlaif.judge_evals.gold_set import check_stored
from rlaif.judges.build import open_judge
from rlaif.judges.spending_limit import remote_judges
from rlaif.models.resolve import resolve_model, weights_id
from rlaif.progress import Ahead, Progress
from rlaif.rounds.identity import begin, check_same_run
from rlaif.rounds.judge_spending import record_spending, run_spending
from rlaif.rounds.setup import Setup
from rlaif.rounds.stages import Work, evaluate, make_pairs, sample_and_judge, train_policy
from rlaif.store.events import (
    AnyEvent,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunResumed,
    RunStarted,
    RunStopped,
    StageBroken,
    StageDone,
    StageStarted,
    WeightsLoaded,
)
from rlaif.store.policies import current_policy, trained_policy
from rlaif.store.policy_weights import PolicyWeights
from rlaif.store.records.evaluation_record import EvaluationRecord
from rlaif.store.records.round_record import EvaluateStage, PromoteStage
from rlaif.store.rundir import RoundDir, RunDir
from rlaif.store.shards import write_table
from rlaif.training.workers import TrainingWorkers


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        path: path or URL of the run.
        rounds: rounds that are done.
        stopped: why the run ended before its last round, or None.
    """

    path: str
    rounds: int
    stopped: str | None


def execute(setup: Setup, address: str | None, progress: Progress, verbose: bool = False) -> RunOutcome:
    """Run or resume a run, and return how it ended.

    Args:
        setup: the recipe with all that it names.
        address: of a Ray cluster; None starts one on this machine.
        progress: told of what happens.
        verbose: let the actors' output through.

    Raises:
        UserError: the directory holds another run.
        WorkError: the work failed; what is committed stays.
    """
    run = RunDir(setup.path)
    with run.lock():
        resumed = check_same_run(run, setup)
        if resumed:
            progress.say(f"resuming {run.root}")
        with ray_cluster(address, verbose):
            policy_id = weights_id(resolve_model(setup.recipe.policy.model, setup.recipe.policy.revision))
            begin(run, setup, policy_id)
            run.events.append((RunResumed if resumed else RunStarted)(rounds=setup.recipe.rounds.count))
            try:
                outcome = asyncio.run(_rounds(setup, run, policy_id, progress))
            except BaseException as error:
                interrupted = isinstance(error, KeyboardInterrupt | asyncio.CancelledError)
                run.set_state("interrupted" if interrupted else "failed")
                reason = str(error) or type(error).__name__
                run.events.append((RunInterrupted if interrupted else RunFailed)(reason=reason))
                raise
            finally:
                run.events.flush()
        run.set_state("stopped" if outcome.stopped else "finished")
        run.events.append(RunStopped(reason=outcome.stopped) if outcome.stopped else RunFinished())
        run.events.flush()
    return outcome


async def _rounds(setup: Setup, run: RunDir, policy_id: str, progress: Progress) -> RunOutcome:
    gpu = uses_gpus(setup.recipe.cluster.device)

    def emit(event: AnyEvent) -> None:
        run.events.append(event)
        if event.notice is not None:
            progress.say(event.notice)

    recipe = setup.recipe
    pools = RunPools(
        recipe.policy,
        recipe.sampling,
        recipe.training,
        recipe.cluster,
        base_id=policy_id,
        judge_models=setup.judge.models,
        judge_tokens=max(1, setup.judge.answer_tokens),
        gpu=gpu,
        emit=emit,
    )
    spending = run_spending(run, setup.judge, setup.recipe.judge.max_cost)
    count, cluster = setup.recipe.rounds.count, setup.recipe.cluster
    async with AsyncExitStack() as stack:
        workers = await stack.enter_async_context(TrainingWorkers(cluster.training, gpu, cluster.shortage == "go_on"))
        stack.push_async_callback(pools.release)
        stack.callback(record_spending, run, setup.judge, spending)
        # What an endpoint has answered is paid for, also where a kill came before it was stored.
        cache = stack.enter_context(closing(ResponseCache())) if remote_judges(setup.judge) else None
        judge = await stack.enter_async_context(open_judge(setup.judge, pools, spending=spending, cache=cache))
        work = Work(setup, run, pools, workers, judge, gpu, policy_id, progress, emit)
        _write_prompts(work)
        if pools.beside_training and not run.round(count - 1).done("train"):
            # Their imports take as long as the engines' start, and then wait for the first training.
            workers.start()
        await _initial(work)
        for number in range(count):
            stopped = await _round(work, run.round(number))
            if stopped:
                return RunOutcome(run.root, number + 1, stopped)
    return RunOutcome(run.root, count, None)


def _write_prompts(work: Work) -> None:
    """Keep the questions with the run, so that a pair can be traced without their source."""
    for name, prompts in (("train", work.setup.train), ("heldout", work.setup.heldout)):
        if names(work.run.path("prompts"), f"{name}.parquet"):
            continue
        rows = [
            {
                "id": p.id,
                "question": p.question,
                "context": p.context,
                "reference": p.gold_answer,
                "doc_link": p.doc_link,
            }
            for p in prompts
        ]
        schema = pa.schema([(column, pa.string()) for column in ("id", "question", "context", "reference", "doc_link")])
        write_table(work.run.path("prompts", f"{name}.parquet"), pa.Table.from_pylist(rows, schema=schema))


async def _initial(work: Work) -> None:
    """Measure the initial policy, once."""
    if EvaluationRecord.read(work.run.path("initial", "evaluation.json")) is not None:
        return
    base = PolicyWeights(work.base_id, "base")
    await _bring(work, base, judges=False)
    with _Timed(work, "evaluate", None):
        await evaluate(work, work.run.path("initial"), "initial policy: evaluate", base, before=None)


async def _round(work: Work, directory: RoundDir) -> str | None:
    """Do what is left of a round; returns why the run stops here, or None."""
    number = directory.number
    if directory.done("promote"):
        return _stops(work, directory)
    current, trained_in = current_policy(work.run, work.base_id, number)
    if not directory.done("judge"):
        if section := work.setup.recipe.judge.gold_set:
            check_stored(work.judge, work.setup.gold_set, directory, section.min_agreement)
        await _bring(work, current, judges=True)
        with _Timed(work, "sample", number):
            await sample_and_judge(work, directory)
    if not directory.done("pairs"):
        with _Timed(work, "pairs", number):
            counts = make_pairs(work, directory)
        statuses = ", ".join(f"{count} {status}" for status, count in sorted(counts.by_status.items()))
        work.progress.say(
            f"round {number}: {counts.pairs} pairs on {counts.prompts} prompts ({statuses or 'no verdicts'})"
        )
    if not directory.done("train"):
        with _Timed(work, "train", number):
            await _train(work, directory, current)
    trained = trained_policy(directory)
    if trained is None:
        work.progress.say(f"round {number}: nothing to learn from; the policy stays")
        directory.mark(PromoteStage(promoted=False, reason="no pairs"))
        return None
    if not directory.done("evaluate"):
        # Where a held-out question has no reference, the judge says which policy answers better.
        await _bring(work, trained, judges=any(prompt.gold_answer is None for prompt in work.setup.heldout))
        before = trained_in.root if trained_in else work.run.path("initial")
        with _Timed(work, "evaluate", number):
            await evaluate(work, directory.root, f"round {number}: evaluate", trained, before=before)
        directory.mark(EvaluateStage(questions=len(work.setup.heldout)))
    with _Timed(work, "promote", number):
        measured = EvaluationRecord.read(directory.path("evaluation.json"))
        assert measured is not None
        directory.mark(PromoteStage(promoted=measured.promoted))
    if gate := measured.gate:
        change = " -> ".join("undefined" if mean is None else f"{mean:.3f}" for mean in (gate.before, gate.after))
        outcome = "promoted" if gate.passed else "not promoted"
        work.progress.say(f"round {number}: {gate.metric} {change}: {outcome}")
    return _stops(work, directory)


async def _train(work: Work, directory: RoundDir, current: PolicyWeights) -> None:
    """Train the round's policy; where the recipe allows it, the engines sample the next round meanwhile."""
    recipe, following = work.setup.recipe, work.run.round(directory.number + 1)
    if not recipe.rounds.staleness or following.number >= recipe.rounds.count or following.done("judge"):
        await train_policy(work, directory, current)
        return
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(train_policy(work, directory, current))
            both.create_task(_sample_ahead(work, following, current))
    except* RlaifError as errors:
        # What one of them says of the run is for people, as if it had been at work alone.
        raise errors.exceptions[0] from None


async def _sample_ahead(work: Work, directory: RoundDir, current: PolicyWeights) -> None:
    quiet = replace(work, progress=Ahead(work.progress))
    await _bring(quiet, current, judges=True)
    with _Timed(quiet, "sample", directory.number):
        await sample_and_judge(quiet, directory)
    work.progress.say(f"round {directory.number}: sampled and judged ahead, by policy {current.id[:12]}")


def _stops(work: Work, directory: RoundDir) -> str | None:
    if directory.record().promoted or work.setup.recipe.rounds.gate.on_fail == "continue":
        return None
    if trained_policy(directory) is None:
        return None
    return f"round {directory.number} did not pass the gate (rounds.gate.on_fail: stop)"


async def _bring(work: Work, policy: PolicyWeights, judges: bool) -> None:
    """Have the engines run and answer with a policy."""
    started = time.monotonic()
    if not work.pools.policy.running:
        work.progress.stage("start engines", 1)
    await work.pools.start(None if judges else [work.pools.policy])
    difference = await work.pools.policy.update(policy)
    seconds = time.monotonic() - started
    work.emit(WeightsLoaded(policy=policy.id, kind=policy.kind, probe_difference=difference, seconds=seconds))


class _Timed:
    """Writes when a stage began and how it ended."""

    def __init__(self, work: Work, stage: str, number: int | None) -> None:
        self._work, self._stage, self._round = work, stage, number

    def __enter__(self) -> None:
        self._began = time.monotonic()
        self._work.emit(StageStarted(stage=self._stage, round=self._round))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        seconds = round(time.monotonic() - self._began, 3)
        ended = StageDone if kind is None else StageBroken
        self._work.emit(ended(stage=self._stage, round=self._round, seconds=seconds))
