"""The stages of a round, each one a function of what lies in the store before it.

Invariant: a stage reads only what earlier stages have committed, writes its own results whole, and marks itself last;
so a run that was killed anywhere continues with the first stage that is not marked.
"""

from dataclasses import asdict, dataclass
from functools import partial

import pyarrow as pa

from rlaif.data.question import Question
from rlaif.errors import WorkError
from rlaif.evaluation.heldout import (
    Answer,
    answer_questions,
    initial_logps,
    kl_samples,
    metrics_of,
    predictions_csv,
)
from rlaif.inference.pools import RunPools
from rlaif.io.files import join, write_bytes
from rlaif.judge_evals.gold_set import judge_gold_set
from rlaif.judges.judge import Judge
from rlaif.preferences.pairs import PairCounts
from rlaif.preferences.round_pairs import write_pairs
from rlaif.progress import Progress
from rlaif.rounds.dispatcher import Dispatcher
from rlaif.rounds.gate import compare_policies
from rlaif.rounds.setup import Setup
from rlaif.rounds.sink import RoundSink
from rlaif.rounds.source import round_questions
from rlaif.stats.bootstrap import Estimate
from rlaif.stats.intervals import mean_interval, paired_difference, win_rate
from rlaif.store.events import Emit, TrainingLost
from rlaif.store.policy_weights import PolicyWeights
from rlaif.store.records.evaluation_record import EvaluationRecord, GateResult
from rlaif.store.records.policy_record import BaseModelRecord, PolicyRecord
from rlaif.store.records.round_record import JudgeStage, PairsStage, SampleStage, TrainStage
from rlaif.store.records.training_record import TrainingRecord
from rlaif.store.rundir import RoundDir, RunDir
from rlaif.store.shards import read_table, write_table
from rlaif.training.dpo.result import DpoResult
from rlaif.training.dpo.train import train_dpo
from rlaif.training.groups import Group
from rlaif.training.job import StartingWeights, TrainingJob
from rlaif.training.scoring import score_with_base
from rlaif.training.step_log import StepProgress
from rlaif.training.worker import run_once
from rlaif.training.workers import TrainingWorkers


@dataclass(frozen=True)
class Work:
    """What all stages of a run work with.

    Attributes:
        setup: the recipe with all that it names.
        run: the run's directory.
        pools: its engines.
        workers: its training workers.
        judge: its judge.
        gpu: whether engines and workers run on GPUs.
        base_id: id of the initial policy's weights.
        progress: told of what happens.
        emit: takes events.
    """

    setup: Setup
    run: RunDir
    pools: RunPools
    workers: TrainingWorkers
    judge: Judge
    gpu: bool
    base_id: str
    progress: Progress
    emit: Emit


async def sample_and_judge(work: Work, directory: RoundDir) -> None:
    """Check the judge on the gold set; then sample candidates for the round's prompts and judge them by shards."""
    recipe = work.setup.recipe
    if recipe.judge.gold_set is not None:
        limit = recipe.judge.gold_set.min_agreement
        await judge_gold_set(work.judge, work.setup.gold_set, directory, limit, progress=work.progress, emit=work.emit)
    prompts = round_questions(work.setup.train, recipe.rounds, directory.number, recipe.seed)
    sink = RoundSink(directory, recipe.sampling.shard_questions)
    dispatcher = Dispatcher(
        work.pools.policy,
        work.judge,
        sink,
        recipe.sampling,
        render=work.setup.render,
        seed=recipe.seed,
        round_number=directory.number,
        progress=work.progress,
    )
    counts = await dispatcher.run(prompts)
    for prompt_id, reason in counts.failures:
        work.progress.say(f"  {prompt_id}: {reason}")
    sampled, failed = sink.candidates.prompt_ids(), sink.failures.prompt_ids()
    if len(sampled) + len(failed) != len(prompts):
        raise WorkError(
            f"{directory.root}: {len(prompts)} prompts, but {len(sampled)} sampled and {len(failed)} failed"
        )
    if not sampled:
        raise WorkError(f"{directory.root}: none of {len(prompts)} prompts could be sampled; see its failures")
    policy, candidates = work.pools.policy.policy.id, sink.candidates.rows()
    directory.mark(SampleStage(policy=policy, questions=len(prompts), failed=len(failed), candidates=candidates))
    directory.mark(JudgeStage(verdicts=sink.verdicts.rows()))


def make_pairs(work: Work, directory: RoundDir) -> PairCounts:
    """Turn the round's verdicts into `pairs.parquet`."""
    prompts = {prompt.id: prompt for prompt in work.setup.train}
    counts = write_pairs(directory, prompts, work.judge, work.setup.recipe.pairs, render=work.setup.render)
    directory.mark(
        PairsStage(
            questions=counts.prompts,
            pairs=counts.pairs,
            below_margin=counts.below_margin,
            by_status=counts.by_status,
            by_judge=counts.by_judge,
        )
    )
    return counts


async def train_policy(work: Work, directory: RoundDir, current: PolicyWeights) -> None:
    """Train the round's policy from the current one, where the round has pairs."""
    recipe = work.setup.recipe
    paired = directory.record().stages.pairs
    if paired is not None and paired.pairs == 0:
        directory.mark(TrainStage(steps=0, reason="the round has no pairs"))
        return
    checkpoints = directory.path("training") if recipe.training.checkpoint_steps else None
    policy = recipe.policy
    job = TrainingJob(
        start=StartingWeights(policy.model, policy.revision, policy.dtype, path=current.folder, id=current.id),
        rows=directory.path("pairs.parquet"),
        out=directory.path("policy"),
        settings=recipe.training,
        seed=recipe.seed + directory.number,
        gpu=work.gpu,
        workers=recipe.cluster.training,
        checkpoints=checkpoints,
    )
    await work.pools.make_room()
    title = f"round {directory.number}: train"
    on_step = StepProgress(work.progress, f"{title}: prepare", title)

    def on_lost(starts: int) -> None:
        on_step.restart()
        work.emit(TrainingLost(round=directory.number, starts=starts))
        work.progress.say(f"{title}: a worker was lost; its steps since the last checkpoint are taken again")

    with work.pools.training_wait() as patience:
        result = await work.workers.run(train_dpo, job, on_step, on_lost=on_lost, patience=patience)
    if not work.pools.beside_training:
        await work.workers.stop()
    _record_training(work, directory, result, current.id)


def _record_training(work: Work, directory: RoundDir, result: DpoResult, parent: str) -> None:
    recipe = work.setup.recipe
    TrainingRecord(
        policy_id=result.policy_id,
        steps=result.steps,
        pairs=result.pairs,
        groups=result.groups,
        tokens=result.tokens,
        seconds=result.seconds,
        loss=result.loss,
        reference_logps=result.reference,
        mismatch=result.mismatch,
        mismatch_p99=result.mismatch_p99,
        log=result.log,
    ).write(directory.path("training.json"))
    PolicyRecord(
        id=result.policy_id,
        kind="lora" if recipe.training.lora else "full",
        base=BaseModelRecord(model=recipe.policy.model, id=work.base_id),
        parent=parent,
        round=directory.number,
        files=result.files,
        probe=result.probe,
    ).write(directory.path("policy.json"))
    directory.mark(TrainStage(steps=result.steps, pairs=result.pairs, seconds=round(result.seconds, 1)))


async def evaluate(work: Work, place: str, title: str, policy: PolicyWeights, before: str | None) -> GateResult | None:
    """Measure the pool's current policy on the held-out questions and write it to a folder.

    Args:
        work: the run.
        place: folder that takes `evaluation.json`, `answers.parquet` and `predictions.csv`.
        title: for the progress.
        policy: what the pool answers with.
        before: folder of the current policy's evaluation, for the gate; None measures the initial policy.
    """
    recipe, setup = work.setup.recipe, work.setup
    options = recipe.evaluation
    max_tokens = options.max_tokens or recipe.sampling.max_tokens
    kl_prompts = setup.heldout[: options.kl_questions] if before else []
    work.progress.stage(title, len(setup.heldout) + len(setup.test))
    answers = await answer_questions(
        work.pools.policy, setup.heldout, setup.render, max_tokens=max_tokens, progress=work.progress
    )
    tests = await answer_questions(
        work.pools.policy, setup.test, setup.render, max_tokens=max_tokens, progress=work.progress
    )
    metrics = metrics_of(answers, options.confidence, recipe.seed)
    difference, gate = None, None
    if before is not None:
        first = _answers(work.run.path("initial"))
        difference, metrics["win_rate"] = await _against(work, answers, first)
        if kl_prompts:
            metrics["kl"] = await _kl(work, kl_prompts, max_tokens)
        gate = await _gate(work, answers, metrics, before)
    write_bytes(join(place, "predictions.csv"), predictions_csv(tests or answers))
    write_table(join(place, "answers.parquet"), pa.Table.from_pylist([asdict(answer) for answer in answers]))
    EvaluationRecord(
        policy=policy.id,
        promoted=gate is None or gate.passed,
        questions=len(answers),
        failed=sum(answer.failure is not None for answer in answers),
        metrics=metrics,
        difference=difference,
        gate=gate,
    ).write(join(place, "evaluation.json"))
    return gate


def _answers(place: str) -> list[Answer]:
    return [Answer(**row) for row in read_table(join(place, "answers.parquet")).to_pylist()]


async def _against(work: Work, answers: list[Answer], first: list[Answer]) -> tuple[Estimate | None, Estimate]:
    """Return the score's paired difference to other answers and how often ours win, by reference or else the judge."""
    options, seed = work.setup.recipe.evaluation, work.setup.recipe.seed
    if all(answer.score is not None for answer in answers):
        ours = [float(answer.score or 0.0) for answer in answers]
        theirs = [float(answer.score or 0.0) for answer in first]
        return paired_difference(ours, theirs, options.confidence, seed), win_rate(
            ours, theirs, options.confidence, seed
        )
    prompts = {prompt.id: prompt for prompt in work.setup.heldout}
    wins = []
    for our, their in zip(answers, first, strict=True):
        verdicts = await work.judge.verdicts(prompts[our.id], [our.answer, their.answer])
        decisions = work.judge.decide(our.id, 2, verdicts)
        ok = [decision for decision in decisions if decision.status == "ok" and decision.preference is not None]
        wins.append(0.5 if not ok else float((ok[0].preference or 0.0) > 0.5))
    return None, mean_interval(wins, options.confidence, seed)


async def _kl(work: Work, prompts: list[Question], max_tokens: int) -> Estimate:
    """Return the KL divergence to the initial policy, in nats an answer."""
    recipe, pool = work.setup.recipe, work.pools.policy
    samples = await kl_samples(pool, prompts, work.setup.render, max_tokens=max_tokens, seed=recipe.seed)
    if recipe.training.lora is not None:
        initial = await initial_logps(pool, samples)
    else:
        groups = [Group(tuple(prompt), (tuple(answer),), ()) for prompt, answer, _ in samples]
        base = StartingWeights(recipe.policy.model, recipe.policy.revision, recipe.policy.dtype)
        score = partial(score_with_base, base, groups, recipe.training.max_tokens_per_pack, work.gpu)
        scored = await run_once(score, gpu=work.gpu)
        initial = [logps[0] for logps in scored]
    differences = [ours - base for (_, _, ours), base in zip(samples, initial, strict=True)]
    return mean_interval(differences, recipe.evaluation.confidence, recipe.seed)


async def _gate(work: Work, answers: list[Answer], metrics: dict[str, Estimate], before: str) -> GateResult:
    max_drop = work.setup.recipe.rounds.gate.max_drop
    if "score" in metrics and metrics["score"].n == len(answers):
        earlier = EvaluationRecord.read(join(before, "evaluation.json"))
        current = earlier.metrics["score"].value if earlier else None
        return compare_policies("score", current, metrics["score"].value, max_drop)
    _, wins = await _against(work, answers, _answers(before))
    return compare_policies("win_rate_against_current", 0.5, wins.value, max_drop)
