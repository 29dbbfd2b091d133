"""The first stage of a round: the judge is checked on the gold set, then candidates are sampled and judged."""

from rlaif.errors import WorkError
from rlaif.inference.vllm.pool import EnginePool
from rlaif.judge_evals.gold_set import judge_gold_set
from rlaif.judges.judge import Judge
from rlaif.progress import Progress
from rlaif.rounds.dispatcher import Dispatcher
from rlaif.rounds.setup import Setup
from rlaif.rounds.sink import RoundSink
from rlaif.rounds.source import round_questions
from rlaif.store.events import Emit
from rlaif.store.records.round_record import JudgeStage, SampleStage
from rlaif.store.rundir import RoundDir


async def sample_and_judge(
    directory: RoundDir, setup: Setup, pool: EnginePool, judge: Judge, *, progress: Progress, emit: Emit
) -> None:
    """Sample candidates for the round's questions, judge them, and mark both stages.

    Raises:
        WorkError: the judge disagrees with people, no question could be sampled, or the engines cannot go on.
    """
    recipe = setup.recipe
    if recipe.judge.gold_set is not None:
        limit = recipe.judge.gold_set.min_agreement
        await judge_gold_set(judge, setup.gold_set, directory, limit, progress=progress, emit=emit)
    questions = round_questions(setup.train, recipe.rounds, directory.number, recipe.seed)
    sink = RoundSink(directory, recipe.sampling.shard_questions)
    dispatcher = Dispatcher(
        pool, judge, sink, recipe.sampling,
        render=setup.render, seed=recipe.seed, round_number=directory.number, progress=progress,
    )  # fmt: skip
    counts = await dispatcher.run(questions)
    for question_id, reason in counts.failures:
        progress.say(f"  {question_id}: {reason}")
    sampled, failed = len(sink.candidates.prompt_ids()), len(sink.failures.prompt_ids())
    if sampled + failed != len(questions):
        raise WorkError(
            f"{directory.root}: {len(questions)} questions, but {sampled} were sampled and {failed} failed; "
            "start the run again"
        )
    if not sampled:
        raise WorkError(
            f"{directory.root}: none of {len(questions)} questions could be sampled; see the reasons in failures/"
        )
    directory.mark(
        SampleStage(policy=pool.policy.id, questions=len(questions), failed=failed, candidates=sink.candidates.rows())
    )
    directory.mark(JudgeStage(verdicts=sink.verdicts.rows()))
