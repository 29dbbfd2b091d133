"""Runs or resumes a run: checks it, opens what it works with, does its rounds, and records how it ended.

Invariant: the same command, given again after any end, continues where the run was left.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass

import pyarrow as pa

from rlaif.cluster.ray_cluster import ray_cluster, uses_gpus
from rlaif.data.gold_answer import shown_gold_answer
from rlaif.inference.limits import Spending
from rlaif.inference.pools import RunPools
from rlaif.inference.response_cache import ResponseCache
from rlaif.io.files import names
from rlaif.judge_evals.gold_set import GOLD_SET_TABLE
from rlaif.judges.build import is_cached_in_runs, limited_spending, open_judge
from rlaif.judges.endpoints import SMALL_ANSWERS, Trial, spread
from rlaif.judges.judge import Judge
from rlaif.judges.llm import criteria_tokens
from rlaif.judges.spec import JudgeSpec
from rlaif.models.policy_source import policy_source
from rlaif.progress import Progress
from rlaif.prompts.question_prompt import shown_question
from rlaif.recipe import Recipe
from rlaif.recipe.recipe import recipe_tree
from rlaif.rounds.contexts_stage import with_contexts
from rlaif.rounds.former_defaults import as_begun
from rlaif.rounds.identity import begin, check_same_run
from rlaif.rounds.loop import RoundLoop, rounds_left
from rlaif.rounds.reward_stage import RewardStage
from rlaif.rounds.round_judges import RoundJudges
from rlaif.rounds.setup import Setup
from rlaif.store.events import AnyEvent, RunFailed, RunFinished, RunInterrupted, RunResumed, RunStarted, RunStopped
from rlaif.store.records.round_records import BaseModelRecord
from rlaif.store.records.run_records import SpendingRecord
from rlaif.store.rundir import RoundDir, RunDir
from rlaif.store.schemas import MESSAGES, VERDICTS
from rlaif.store.shards import ShardTable, write_table
from rlaif.tracking.feed import Tracking
from rlaif.training.policy_check import confirm_policy
from rlaif.training.workers import TrainingWorkers


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        rounds: rounds that are done.
        stopped: why the run ended before its last round, or None.
    """

    path: str
    rounds: int
    stopped: str | None


def execute(setup: Setup, address: str | None, progress: Progress, verbose: bool = False) -> RunOutcome:
    """Run or resume a run, and return how it ended.

    Args:
        address: of a Ray cluster; None starts one on this machine.
        verbose: let the actors' output through.

    Raises:
        UserError: the directory holds another run.
        WorkError: the work failed; what is committed stays.
    """
    run = RunDir(setup.path)
    with run.lock():
        setup = as_begun(run, setup)
        resumed = check_same_run(run, setup)
        if resumed:
            progress.say(f"resuming {run.root}")
        with ray_cluster(address, verbose):
            source = policy_source(setup.recipe.policy, setup.recipe.training.lora)
            policy_id = source.policy_id()
            base = BaseModelRecord(model=source.model, id=source.base_id()) if source.adapter else None
            begin(run, setup, policy_id, base)
            run.events.append((RunResumed if resumed else RunStarted)(rounds=setup.recipe.rounds.count))
            try:
                setup = with_contexts(setup, run, progress)
                with Tracking(run, setup.recipe.tracking, recipe_tree(setup.recipe), progress.say) as tracking:
                    outcome = asyncio.run(_do_rounds(setup, run, policy_id, progress, tracking))
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


async def _do_rounds(setup: Setup, run: RunDir, policy_id: str, progress: Progress, tracking: Tracking) -> RunOutcome:
    """Open the engines, training workers and judge of a run, and do its rounds."""
    recipe, cluster = setup.recipe, setup.recipe.cluster
    gpu = uses_gpus(cluster.device)

    def emit(event: AnyEvent) -> None:
        run.events.append(event)
        tracking.on_event(event)
        if event.notice is not None:
            progress.say(event.notice)

    judges = setup.judges
    pools = RunPools(
        recipe.policy, recipe.longest_sampling, recipe.training, cluster,
        base_id=policy_id, judge_models={model for judge in judges for model in judge.models},
        judge_tokens=max(1, *(judge.answer_tokens for judge in judges)),
        criteria_tokens=criteria_tokens(judges, (*setup.train, *setup.heldout)), gpu=gpu, emit=emit,
    )  # fmt: skip
    spending = run_spending(run, setup.charging, recipe.judge.max_cost)
    async with AsyncExitStack() as stack:
        workers = await stack.enter_async_context(TrainingWorkers(cluster.training, gpu, cluster.shortage == "go_on"))
        stack.push_async_callback(pools.release)
        stack.callback(record_spending, run, judges, spending)
        cached = any(is_cached_in_runs(judge) for judge in judges)
        cache = stack.enter_context(closing(ResponseCache())) if cached else None
        left = rounds_left(run, recipe.rounds)
        asked, opened = _judges_asked(left, setup), dict[str, Judge]()
        for judge in judges:
            trial = _trial(setup) if judge.sha in asked else None
            opened[judge.sha] = await stack.enter_async_context(
                open_judge(judge, pools, spending=spending, cache=cache, trial=trial)
            )
        _write_questions(run, setup)
        trains = any(not directory.done("train") for directory in left)
        check = asyncio.create_task(_check_policy(recipe, progress.say, trains))
        stack.callback(check.cancel)
        if not pools.demand.takes_turns and trains:
            # Their imports take as long as the engines' start; then they wait for the first training.
            workers.start()
        reward = None
        if recipe.reward.retrain:
            reward = RewardStage(setup, run, setup.reward_pairs, pools=pools, workers=workers, progress=progress)

        async def open_anew(spec: JudgeSpec) -> Judge:
            return await stack.enter_async_context(open_judge(spec, pools, spending=spending, cache=cache))

        round_judges = RoundJudges(opened, reward, open_anew)
        loop = RoundLoop(
            setup, run, pools, workers, judges=round_judges, progress=progress, emit=emit, policy_check=check,
            on_step=tracking.on_step,
        )  # fmt: skip
        stopped = await loop.run()
    if stopped is None:
        return RunOutcome(run.root, recipe.rounds.count, None)
    reason = f"round {stopped.number} did not pass the gate (rounds.gate.on_fail: stop)"
    return RunOutcome(run.root, stopped.number + 1, reason)


async def _check_policy(recipe: Recipe, say: Callable[[str], None], trains: bool) -> None:
    """Raise a `UserError` unless the recipe's policy can be trained; asks nothing where no training is left."""
    if trains:
        await confirm_policy(recipe.policy, recipe.training.lora, say)


def _judges_asked(left: Sequence[RoundDir], setup: Setup) -> set[str]:
    """Return the sha256 of the judges that some rounds ask: of candidates, or of held-out answers without gold ones."""
    rounds = [(directory, setup.round(directory.number)) for directory in left]
    asked = {each.judge.sha for directory, each in rounds if each.objective.samples and not directory.done("judge")}
    judges_heldout = any(question.gold_answer is None for question in setup.heldout)
    return asked | ({setup.judge.sha} if left and judges_heldout else set())


def _trial(setup: Setup) -> Trial:
    """Return what the judge is asked before engines start; see `Trial`."""
    questions = spread([each for each in (*setup.train, *setup.heldout) if not each.unasked])
    return Trial(engines=True, own=tuple((question, SMALL_ANSWERS) for question in questions))


def _write_questions(run: RunDir, setup: Setup) -> None:
    """Keep the questions with the run, so that a pair can be traced without their source."""
    texts = ("id", "question", "context", "reference", "doc_link")
    schema = pa.schema([*((column, pa.string()) for column in texts), ("messages", MESSAGES)])
    for name, questions in (("train", setup.train), ("heldout", setup.heldout)):
        if not names(run.path("prompts"), f"{name}.parquet"):
            rows = [
                {name: getattr(each, name) for name in ("id", "context", "doc_link")}
                | {"question": shown_question(each), "reference": shown_gold_answer(each.gold_answer) or None}
                | {"messages": each.messages or None}
                for each in questions
            ]
            write_table(run.path("prompts", f"{name}.parquet"), pa.Table.from_pylist(rows, schema=schema))


def run_spending(run: RunDir, judges: Sequence[JudgeSpec], limit: float | None) -> Spending:
    """Return what a run has spent on its judges, over all its starts.

    The recorded amount never falls: it is the larger of `spending.json` and the cost of the stored verdicts. An answer
    that a kill kept from both costs nothing again, since the response cache has it.

    Raises:
        UserError: the limit, `judge.max_cost`, cannot be enforced; see `limited_spending`.
    """
    spending = limited_spending(judges, limit)
    prices = {leaf.sha: leaf.prices for judge in judges for leaf in judge.leaves if leaf.prices is not None}
    if not prices:
        return spending
    for directory in run.rounds():
        for table in (GOLD_SET_TABLE, "verdicts"):
            for shard in ShardTable(directory.path(table), VERDICTS).shards():
                for row in shard.select(["judge_sha", "prompt_tokens", "completion_tokens"]).to_pylist():
                    spending.add(prices.get(row["judge_sha"]), row["prompt_tokens"] or 0, row["completion_tokens"] or 0)
    if recorded := SpendingRecord.read(run.path("spending.json")):
        spending.spent = max(spending.spent, recorded.spent)
    return spending


def record_spending(run: RunDir, judges: Sequence[JudgeSpec], spending: Spending) -> None:
    """Write `spending.json`, if a judge has prices."""
    if any(leaf.prices is not None for judge in judges for leaf in judge.leaves):
        SpendingRecord(spent=spending.spent, currency=spending.currency).write(run.path("spending.json"))
