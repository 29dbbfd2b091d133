"""The stage that measures a policy on the held-out questions and asks the gate.

Invariant: `evaluation.json` is written last, so where it is, the answers and predictions are too.
"""

from dataclasses import asdict
from functools import partial

import pyarrow as pa

from rlaif.data.question import Question
from rlaif.evaluation.heldout import (
    HeldoutAnswer,
    PolicySample,
    answer_questions,
    base_logps,
    compare_answers,
    metrics_of,
    predictions_csv,
    sample_policy,
)
from rlaif.inference.pools import RunPools
from rlaif.io.files import join, write_bytes
from rlaif.judges.judge import Judge
from rlaif.progress import Progress
from rlaif.rounds.gate import compare_policies
from rlaif.rounds.setup import Setup
from rlaif.stats.bootstrap import Estimate, mean_interval
from rlaif.store.records.round_records import EvaluationRecord, GateResult
from rlaif.store.shards import read_table, write_table
from rlaif.training.groups import Group
from rlaif.training.job import StartingWeights
from rlaif.training.models import score_with_base
from rlaif.training.worker import run_once


class PolicyEvaluation:
    """Measures policies of a run; `initial` is the folder of the initial policy's evaluation."""

    def __init__(self, setup: Setup, pools: RunPools, judge: Judge, *, initial: str, progress: Progress) -> None:
        self._setup, self._pools, self._judge = setup, pools, judge
        self._initial, self._progress = initial, progress
        self._max_tokens = setup.recipe.evaluation.max_tokens or setup.recipe.sampling.max_tokens

    async def evaluate(self, folder: str, title: str, current: str | None = None) -> None:
        """Measure the policy that the pool answers with.

        Args:
            folder: takes `predictions.csv`, `answers.parquet` and `evaluation.json`.
            current: folder of the current policy's evaluation, for the gate; None measures the initial policy.
        """
        setup, recipe = self._setup, self._setup.recipe
        self._progress.stage(title, len(setup.heldout) + len(setup.test))
        answers = await self._answer(setup.heldout)
        predictions = await self._answer(setup.test) if setup.test else answers
        metrics = metrics_of(answers, recipe.evaluation.confidence, recipe.seed)
        difference, gate, errors = None, None, 0
        if current is not None:
            difference, metrics["win_rate"], errors = await self._compare(answers, self._initial, title)
            if recipe.evaluation.kl_questions:
                metrics["kl"] = await self._kl()
            gate = await self._gate(answers, metrics, current, title)
        write_bytes(join(folder, "predictions.csv"), predictions_csv(predictions))
        write_table(join(folder, "answers.parquet"), pa.Table.from_pylist([asdict(answer) for answer in answers]))
        EvaluationRecord(
            policy=self._pools.policy.policy.id,
            promoted=gate is None or gate.passed,
            questions=len(answers),
            failed=sum(answer.failure is not None for answer in answers),
            metrics=metrics,
            judge_errors=errors,
            difference=difference,
            gate=gate,
        ).write(join(folder, "evaluation.json"))

    async def _answer(self, questions: list[Question]) -> list[HeldoutAnswer]:
        return await answer_questions(
            self._pools.policy, questions, self._setup.render, max_tokens=self._max_tokens, progress=self._progress
        )

    async def _compare(
        self, answers: list[HeldoutAnswer], folder: str, title: str
    ) -> tuple[Estimate | None, Estimate, int]:
        """Compare answers with those of an earlier evaluation, and say on how many the judge failed."""
        others = [HeldoutAnswer(**row) for row in read_table(join(folder, "answers.parquet")).to_pylist()]
        recipe = self._setup.recipe
        compared = await compare_answers(
            answers, others, self._setup.heldout, self._judge,
            confidence=recipe.evaluation.confidence, seed=recipe.seed,
        )  # fmt: skip
        if errors := compared[2]:
            share = f"{errors:,} of {len(answers):,} questions ({100 * errors / len(answers):.1f}%)"
            self._progress.say(f"{title}: the judge failed on {share}, which are left out of the win rate")
        return compared

    async def _kl(self) -> Estimate:
        """Return KL(policy || initial policy) in nats per answer: the estimator k1 of Schulman 2020."""
        recipe, pool = self._setup.recipe, self._pools.policy
        questions = self._setup.heldout[: recipe.evaluation.kl_questions]
        samples = await sample_policy(
            pool, questions, self._setup.render, max_tokens=self._max_tokens, seed=recipe.seed
        )
        logps = await base_logps(pool, samples) if recipe.training.lora else await self._initial_logps(samples)
        differences = [each.logp - initial for each, initial in zip(samples, logps, strict=True)]
        return mean_interval(differences, recipe.evaluation.confidence, recipe.seed)

    async def _initial_logps(self, samples: list[PolicySample]) -> list[float]:
        """Return the answers' log-probabilities under the initial policy, which no engine holds any more."""
        policy, gpu = self._setup.recipe.policy, self._pools.demand.gpu
        max_tokens = self._setup.recipe.training.max_tokens_per_pack
        groups = [Group(tuple(each.prompt), (tuple(each.answer),), ()) for each in samples]
        base = StartingWeights(policy.model, policy.revision, policy.dtype)
        scored = await run_once(partial(score_with_base, base, groups, max_tokens, gpu), gpu=gpu)
        return [logps[0] for logps in scored]

    async def _gate(
        self, answers: list[HeldoutAnswer], metrics: dict[str, Estimate], current: str, title: str
    ) -> GateResult:
        max_drop = self._setup.recipe.rounds.gate.max_drop
        if "score" in metrics and metrics["score"].n == len(answers):
            earlier = EvaluationRecord.read(join(current, "evaluation.json"))
            before = earlier.metrics["score"].value if earlier else None
            return compare_policies("score", before, metrics["score"].value, max_drop)
        # Until a policy is promoted the current one is the initial one, against which the judge has been asked.
        against_initial = current == self._initial
        wins = metrics["win_rate"] if against_initial else (await self._compare(answers, current, title))[1]
        return compare_policies("win_rate_against_current", 0.5, wins.value, max_drop)
