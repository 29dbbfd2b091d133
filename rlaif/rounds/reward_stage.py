"""Trains the reward model of a run's judge anew, before the candidates of a round are judged.

Invariant: `reward.json` is written last, so where it is, the weights in `reward/` are whole, and a run that starts
again judges with them. The pairs depend on what earlier rounds have committed alone.
"""

from collections.abc import Sequence
from functools import partial

from rlaif.background import in_background
from rlaif.chat import Messages, visible_text
from rlaif.data.question import Question
from rlaif.evaluation.heldout import HeldoutAnswer
from rlaif.evaluation.heldout_pairs import accuracy_of, tally
from rlaif.inference.pools import RunPools
from rlaif.io.files import join, local_folder
from rlaif.judges.rating import RewardModelSpec
from rlaif.judges.retrained import reward_models, with_reward_model
from rlaif.judges.spec import JudgeSpec
from rlaif.preferences.reward_pairs import RewardPair, run_pairs
from rlaif.progress import Progress
from rlaif.prompts.question_prompt import question_prompt, shown_question
from rlaif.prompts.quoting import conversation
from rlaif.recipe.reward import RewardTrainingSection
from rlaif.rounds.setup import Setup
from rlaif.stats.bootstrap import Estimate, paired_difference
from rlaif.store.records.file_training_record import HeldOutPairs
from rlaif.store.records.reward_record import RewardRecord
from rlaif.store.records.round_records import BaseModelRecord
from rlaif.store.rundir import RoundDir, RunDir
from rlaif.store.shards import read_table
from rlaif.training.job import TrainingJob
from rlaif.training.reward.pairs import always_held_out
from rlaif.training.reward.preparation import (
    RewardBase,
    pairs_sha,
    prepare_training,
    score_pairs,
    score_with,
    trained_pairs,
)
from rlaif.training.reward.train import RewardResult, train_reward_model
from rlaif.training.workers import StepProgress, TrainingWorkers


class RewardStage:
    """Trains the reward models of a run; the judge's spec has exactly one.

    Args:
        people: pairs of the recipe's own file, `reward.pairs`.
    """

    def __init__(
        self,
        setup: Setup,
        run: RunDir,
        people: Sequence[RewardPair],
        *,
        pools: RunPools,
        workers: TrainingWorkers,
        progress: Progress,
    ) -> None:
        self._setup, self._run, self._people = setup, run, people
        self._pools, self._workers, self._progress = pools, workers, progress

    async def judge_of(self, directory: RoundDir, spec: JudgeSpec, *, trains: bool) -> JudgeSpec:
        """Return a round's judge: the given one with the weights of the last reward model of the run.

        Args:
            trains: whether the round trains one first. Where there is no pair to learn from, it trains none.
        """
        if trains and RewardRecord.read(directory.path("reward.json")) is None:
            await self._train(directory, spec)
        (reward,) = reward_models(spec)
        last = last_reward(self._run, directory.number, reward.model)
        return spec if last is None else with_reward_model(spec, last[1])

    async def _train(self, directory: RoundDir, spec: JudgeSpec) -> None:
        (reward,) = reward_models(spec)
        section, seed = self._setup.recipe.reward, self._setup.recipe.seed
        before = [entry for entry in self._run.rounds() if entry.number < directory.number]
        asked = {question.id: shown_question(question) for question in self._setup.train}
        pairs = [*self._people, *run_pairs(before, reward.name, asked)]
        kept = [pair for pair in pairs if always_held_out(pair.question, section.heldout_share, seed)]
        train = [pair for pair in pairs if not always_held_out(pair.question, section.heldout_share, seed)]
        title = f"round {directory.number}: reward model"
        if not train:
            self._progress.say(f"{title}: no pairs of people or other judges to learn from yet")
            return
        prepare = partial(
            prepare_training, RewardBase(reward.model), train, section.training,
            rows=directory.path("reward-pairs.parquet"), out=directory.path("reward"), seed=seed,
            gpu=self._pools.demand.gpu, workers=self._setup.recipe.cluster.training,
        )  # fmt: skip
        job, encoded = await in_background(prepare, "encode")
        result = await self._run_training(job, title)
        if job.gpu:
            # Their GPUs are those that the new model is measured on.
            await self._workers.stop()
        folder = local_folder(directory.path("reward"), result.model_id)
        heldout, accuracy = await self._measure(folder, kept, job)
        gain = await self._gain(folder, reward, directory.number, job)
        earlier = last_reward(self._run, directory.number, reward.model)
        RewardRecord(
            round=directory.number,
            id=result.model_id,
            base=BaseModelRecord(model=reward.model, id=job.start.id),
            parent=earlier[0].id if earlier else None,
            judge_sha=reward_models(with_reward_model(spec, folder))[0].sha,
            files=result.files,
            train=trained_pairs(train, encoded),
            heldout=heldout,
            accuracy=accuracy,
            gain=gain,
            steps=result.steps,
            seconds=result.seconds,
            log=result.log,
        ).write(directory.path("reward.json"))
        shown = f"right on {_shown(accuracy)} of {len(kept)} held-out pairs" if accuracy else "no held-out pairs"
        self._progress.say(f"{title}: trained on {len(encoded.rows)} pairs, {shown}")

    async def _run_training(self, job: TrainingJob[RewardTrainingSection], title: str) -> RewardResult:
        await self._pools.make_room()
        on_step = StepProgress(self._progress, f"{title}: prepare", title)

        def on_lost(starts: int) -> None:
            on_step.restart()
            self._progress.say(f"{title}: a worker was lost; its training begins again")

        with self._pools.training_wait() as wait:
            return await self._workers.run(train_reward_model, job, on_step, on_lost=on_lost, wait=wait)

    async def _measure(
        self, folder: str, pairs: Sequence[RewardPair], job: TrainingJob[RewardTrainingSection]
    ) -> tuple[HeldOutPairs | None, Estimate | None]:
        if not pairs:
            return None, None
        recipe, rewards = self._setup.recipe, await score_pairs(folder, pairs, job)
        accuracy = accuracy_of(pairs, rewards, confidence=recipe.evaluation.confidence, seed=recipe.seed)
        return tally(pairs, rewards, pairs_sha(pairs)), accuracy

    async def _gain(
        self, folder: str, reward: RewardModelSpec, number: int, job: TrainingJob[RewardTrainingSection]
    ) -> Estimate | None:
        """Return by how much the current policy's held-out answers are rewarded more than the initial policy's."""
        promoted = self._run.promoted_rounds(number)
        if not promoted:
            return None
        questions = {question.id: question for question in self._setup.heldout}
        first, now = (_answers(root) for root in (self._run.path("initial"), promoted[-1].root))
        both = [id_ for id_ in questions if id_ in first and id_ in now]
        chats = [_chat(reward, questions[id_], answers[id_]) for answers in (now, first) for id_ in both]
        scores = [found.score for found in await score_with(folder, chats, job)]
        scored = [
            (after, before)
            for after, before in zip(scores[: len(both)], scores[len(both) :], strict=True)
            if after is not None and before is not None
        ]
        recipe = self._setup.recipe
        return paired_difference(
            [after for after, _ in scored], [before for _, before in scored], recipe.evaluation.confidence, recipe.seed
        )


def last_reward(run: RunDir, number: int, base: str) -> tuple[RewardRecord, str] | None:
    """Return the last reward model trained from a base up to a round, that round's included, and its local folder."""
    for directory in reversed([entry for entry in run.rounds() if entry.number <= number]):
        record = RewardRecord.read(directory.path("reward.json"))
        if record is not None and record.base.model == base:
            return record, local_folder(directory.path("reward"), record.id)
    return None


def _answers(folder: str) -> dict[str, str]:
    """Return the held-out answers of an evaluation by question; without those that failed."""
    rows = (HeldoutAnswer(**row) for row in read_table(join(folder, "answers.parquet")).to_pylist())
    return {answer.id: answer.answer for answer in rows if answer.failure is None}


def _chat(reward: RewardModelSpec, question: Question, answer: str) -> Messages:
    return conversation(question_prompt(reward.template, question), visible_text(answer))


def _shown(found: Estimate) -> str:
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
