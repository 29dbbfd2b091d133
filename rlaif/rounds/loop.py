"""The loop over rounds: sample and judge, gather what the objective learns from, train, evaluate, promote.

Invariant: a stage reads only what earlier stages have committed, writes its results whole and is marked last. So a run
that was killed anywhere continues with the first stage that is not marked.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rlaif.errors import RlaifError
from rlaif.evaluation.heldout import least_difference
from rlaif.inference.pools import RunPools
from rlaif.io.files import remove_folder
from rlaif.judge_evals.gold_set import check_stored
from rlaif.objectives.objective import RoundWork
from rlaif.progress import Ahead, Progress
from rlaif.recipe import GateSection, RoundsSection
from rlaif.rounds.dispatcher import sample_and_judge
from rlaif.rounds.evaluation_stage import PolicyEvaluation
from rlaif.rounds.gate import too_few
from rlaif.rounds.round_judges import RoundJudges
from rlaif.rounds.setup import RoundSetup, Setup
from rlaif.rounds.submission import LearningCurve, write_submission
from rlaif.rounds.training_stage import train_policy
from rlaif.store.events import Emit, StageBroken, StageDone, StageStarted, WeightsLoaded
from rlaif.store.policy_weights import PolicyWeights
from rlaif.store.records.round_records import EvaluateStage, EvaluationRecord, PromoteStage
from rlaif.store.rundir import RoundDir, RunDir
from rlaif.training.workers import TrainingWorkers


def rounds_left(run: RunDir, section: RoundsSection) -> list[RoundDir]:
    """Return the rounds that are not done; none where the gate has ended the run."""
    rounds = [run.round(number) for number in range(section.count)]
    if any(_ends_the_run(directory, section.gate) for directory in rounds):
        return []
    return [directory for directory in rounds if not directory.done("promote")]


def _ends_the_run(directory: RoundDir, section: GateSection) -> bool:
    return section.on_fail == "stop" and directory.rejected


class RoundLoop:
    """Does the rounds of a run with what `rlaif.rounds.run` has opened.

    Args:
        judges: of the rounds, and of the held-out answers.
        policy_check: raises unless the policy can be trained; its end is awaited before anything is asked of engines.
        on_step: takes a round's number and the log entry of each step of its training.
    """

    def __init__(
        self,
        setup: Setup,
        run: RunDir,
        pools: RunPools,
        workers: TrainingWorkers,
        *,
        judges: RoundJudges,
        progress: Progress,
        emit: Emit,
        policy_check: "asyncio.Task[None]",
        on_step: Callable[[int, dict[str, float]], None],
    ) -> None:
        self._setup, self._recipe, self._run, self._pools, self._workers = setup, setup.recipe, run, pools, workers
        self._judges, self._progress, self._emit, self._policy_check = judges, progress, emit, policy_check
        self._on_step = on_step
        self._initial, self._curve = run.path("initial"), LearningCurve(run)
        self._judges_heldout = any(question.gold_answer is None for question in setup.heldout)
        judge = judges.of_file(setup.judge)
        self._evaluation = PolicyEvaluation(setup, pools, judge, initial=self._initial, progress=progress)

    async def run(self) -> RoundDir | None:
        """Do what is left of the run; returns the round whose policy ended it at the gate, or None."""
        least = least_difference(scored=not self._judges_heldout)
        if note := too_few(self._recipe.rounds.gate, len(self._setup.heldout), least):
            self._progress.say(note)
        await self._measure_initial_policy()
        if self._setup.test:
            write_submission(self._run, 0, self._initial)
        # An earlier start may have been killed before it wrote the last one.
        self._curve.write()
        for number in range(self._recipe.rounds.count):
            directory = self._run.round(number)
            if not directory.done("promote"):
                await self._round(directory)
            if _ends_the_run(directory, self._recipe.rounds.gate):
                return directory
        return None

    async def _round(self, directory: RoundDir) -> None:
        current, _ = self._run.current_policy(self._pools.policy.base.id, directory.number)
        round_ = self._setup.round(directory.number)
        directory.begin(round_.phase.objective, self._recipe.title_of(directory.number), round_.objective.stages)
        if round_.objective.samples and not directory.done("judge"):
            if section := self._recipe.judge.gold_set:
                # A judge that is known to disagree ends the round before engines start.
                judge = await self._judges.of_round(directory, round_)
                check_stored(judge, self._setup.gold_set, directory, section.min_agreement)
            await self._sample(directory, current, self._progress)
        if directory.record().gathered is None:
            await self._gather(directory, round_)
        if not directory.done("train"):
            await self._train(directory, round_, current)
        trained = directory.trained_policy()
        if trained is None:
            self._progress.say(f"round {directory.number}: nothing to learn from; the policy stays")
            gathered = directory.record().gathered
            self._end(directory, promoted=False, reason=f"no {gathered.unit if gathered else 'pairs'}")
            return
        if not directory.done("evaluate"):
            await self._evaluate(directory, trained)
        self._promote(directory)

    async def _measure_initial_policy(self) -> None:
        if EvaluationRecord.read(self._run.path("initial", "evaluation.json")) is None:
            await self._load(self._pools.policy.base, judges=False)
            with self._timed("evaluate", None):
                await self._evaluation.evaluate(self._initial, "initial policy: evaluate")

    async def _sample(self, directory: RoundDir, policy: PolicyWeights, progress: Progress) -> None:
        judge = await self._judges.of_round(directory, self._setup.round(directory.number))
        await self._load(policy, judges=True, progress=progress)
        with self._timed("sample", directory.number):
            await sample_and_judge(
                directory, self._setup, self._pools.policy, judge, progress=progress, emit=self._emit
            )

    async def _gather(self, directory: RoundDir, round_: RoundSetup) -> None:
        objective = round_.objective
        work = RoundWork(
            run=self._run,
            directory=directory,
            number=round_.number,
            questions=round_.questions,
            train={question.id: question for question in self._setup.train},
            judge=await self._judges.of_round(directory, round_),
            policy=self._recipe.policy,
            seed=self._recipe.seed,
            render=self._setup.render,
            progress=self._progress,
            idle=self._pools.idle,
            say=lambda line: self._progress.say(f"round {directory.number}: {line}"),
        )
        with self._timed("pairs" if "pairs" in objective.stages else "gather", directory.number):
            directory.mark(await objective.gather(round_.phase, work))

    async def _train(self, directory: RoundDir, round_: RoundSetup, current: PolicyWeights) -> None:
        """Train the round's policy; with `rounds.staleness`, sample the next round of the phase meanwhile."""
        following = self._run.round(directory.number + 1)
        in_phase = round_.number + 1 < round_.phase.rounds
        ahead = self._recipe.rounds.staleness and in_phase and round_.objective.samples
        sampling = round_.phase.sampling
        with self._timed("train", directory.number):
            training = train_policy(
                directory, self._recipe, current, round_.phase.training, round_.objective,
                pools=self._pools, workers=self._workers, progress=self._progress, emit=self._emit,
                on_step=partial(self._on_step, directory.number),
                temperature=sampling.temperature_of(round_.number) if sampling else 1.0,
                state_in=self._state_of(directory, round_),
            )  # fmt: skip
            if not ahead or following.done("judge"):
                await training
                return
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(training)
                    both.create_task(self._sample_ahead(following, current))
            except* (RlaifError, OSError) as errors:
                # A person reads one message, as if one task had been at work alone.
                raise errors.exceptions[0] from None

    def _state_of(self, directory: RoundDir, round_: RoundSetup) -> str | None:
        """Return the folder of the optimizer's state that belongs to the current policy; None of another phase's."""
        if not round_.objective.carries_state:
            return None
        _, trained = self._run.current_policy(self._pools.policy.base.id, directory.number)
        of_phase = trained is not None and trained.number >= directory.number - round_.number
        return trained.path("state") if trained is not None and of_phase else None

    async def _sample_ahead(self, directory: RoundDir, current: PolicyWeights) -> None:
        round_ = self._setup.round(directory.number)
        directory.begin(round_.phase.objective, self._recipe.title_of(directory.number), round_.objective.stages)
        await self._sample(directory, current, Ahead(self._progress))
        self._progress.say(f"round {directory.number}: sampled and judged ahead, by policy {current.id[:12]}")

    async def _evaluate(self, directory: RoundDir, trained: PolicyWeights) -> None:
        earlier = [self._initial, *(entry.root for entry in self._run.promoted_rounds(directory.number))]
        # Where a held-out question has no gold answer, the judge says which policy answers better.
        await self._load(trained, judges=self._judges_heldout)
        with self._timed("evaluate", directory.number):
            await self._evaluation.evaluate(directory.root, f"round {directory.number}: evaluate", earlier)
        directory.mark(EvaluateStage(questions=len(self._setup.heldout)))

    def _promote(self, directory: RoundDir) -> None:
        with self._timed("promote", directory.number):
            measured = EvaluationRecord.read(directory.path("evaluation.json"))
            assert measured is not None
            self._end(directory, promoted=measured.promoted)
        if gate := measured.gate:
            outcome = "promoted" if gate.passed else "not promoted"
            self._progress.say(f"round {directory.number}: {gate.change}: {outcome}")

    def _end(self, directory: RoundDir, *, promoted: bool, reason: str | None = None) -> None:
        """Write what the current policy answers to the test questions, mark the round as over, and draw its curve."""
        _, before = self._run.current_policy(self._pools.policy.base.id, directory.number)
        current = directory if promoted else before
        if self._setup.test:
            write_submission(self._run, directory.number + 1, current.root if current else self._initial)
        # Only the state of the current policy goes on; one of full weights takes twice their room.
        stale = before if promoted else directory
        if stale is not None:
            remove_folder(stale.path("state"))
        directory.mark(PromoteStage(promoted=promoted, reason=reason))
        self._curve.write()

    async def _load(self, policy: PolicyWeights, *, judges: bool, progress: Progress | None = None) -> None:
        """Have the engines run and answer with a policy."""
        started = time.monotonic()
        pool = self._pools.policy
        if not pool.running:
            (progress or self._progress).stage("start engines", 1)
        await self._pools.start(None if judges else [pool])
        await self._policy_check
        probed = await pool.update(policy)
        self._emit(
            WeightsLoaded(
                policy=policy.id,
                kind=policy.kind,
                probe_difference=probed.difference if probed else 0.0,
                probe_moved=probed.moved if probed else None,
                told_apart=probed is not None and probed.told_apart,
                seconds=time.monotonic() - started,
            )
        )

    @contextmanager
    def _timed(self, stage: str, number: int | None) -> Iterator[None]:
        """Emit when a stage begins and how it ends."""
        began = time.monotonic()
        self._emit(StageStarted(stage=stage, round=number))
        ended: type[StageDone | StageBroken] = StageBroken
        try:
            yield
            ended = StageDone
        finally:
            self._emit(ended(stage=stage, round=number, seconds=round(time.monotonic() - began, 3)))
