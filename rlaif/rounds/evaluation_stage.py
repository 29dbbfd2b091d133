"""The stage that measures a policy on the held-out questions and asks the gate.

Invariant: `evaluation.json` is written last, so where it is, the answers and predictions are too.
"""

from collections.abc import Sequence

import pyarrow as pa

from rlaif.data.question import Question
from rlaif.evaluation.heldout import (
    Comparison,
    HeldoutAnswer,
    answer_questions,
    answer_rows,
    compare_answers,
    initial_logps,
    metrics_of,
    predictions_csv,
    sample_policy,
    unseen_metrics,
)
from rlaif.evaluation.unfinished import unfinished_line
from rlaif.inference.pools import RunPools
from rlaif.io.files import join, write_bytes
from rlaif.judges.judge import Judge
from rlaif.progress import Progress
from rlaif.rounds.gate import Opponent, best_of, decide
from rlaif.rounds.setup import Setup
from rlaif.stats.bootstrap import Estimate, mean_interval
from rlaif.store.records.round_records import EvaluationRecord, GateResult
from rlaif.store.shards import read_table, write_table


class PolicyEvaluation:
    """Measures policies of a run; `initial` is the folder of the initial policy's evaluation."""

    def __init__(self, setup: Setup, pools: RunPools, judge: Judge, *, initial: str, progress: Progress) -> None:
        self._setup, self._pools, self._judge = setup, pools, judge
        self._initial, self._progress = initial, progress
        self._max_tokens = setup.recipe.evaluation.max_tokens or setup.recipe.sampling.max_tokens

    async def evaluate(self, folder: str, title: str, earlier: Sequence[str] = ()) -> None:
        """Measure the policy that the pool answers with.

        Args:
            folder: takes `predictions.csv`, `answers.parquet` and `evaluation.json`.
            earlier: folders of the initial policy's evaluation and of those that were promoted, the current one last;
                for the gate. None of them measures the initial policy.
        """
        setup, recipe = self._setup, self._setup.recipe
        self._progress.stage(title, len(setup.heldout) + len(setup.test))
        answers = await self._answer(setup.heldout)
        predictions = await self._answer(setup.test) if setup.test else answers
        if line := unfinished_line((each.answer for each in answers), self._max_tokens, "evaluation.max_tokens"):
            self._progress.say(f"{title}: {line}")
        metrics = metrics_of(answers, recipe.evaluation.confidence, recipe.seed)
        if setup.test:
            metrics |= unseen_metrics(predictions, recipe.evaluation.confidence, recipe.seed)
        against_initial, gate = None, None
        if earlier:
            against_initial = await self._compare(answers, self._initial, title)
            metrics["win_rate"] = against_initial.wins
            if recipe.evaluation.kl_questions:
                metrics["kl"] = await self._kl()
            gate = await self._gate(answers, against_initial, earlier, title)
        write_bytes(join(folder, "predictions.csv"), predictions_csv(predictions))
        write_table(join(folder, "answers.parquet"), pa.Table.from_pylist(answer_rows(answers)))
        EvaluationRecord(
            policy=self._pools.policy.policy.id,
            promoted=gate is None or gate.passed,
            questions=len(answers),
            failed=sum(answer.failure is not None for answer in answers),
            metrics=metrics,
            judge_errors=against_initial.errors if against_initial else 0,
            difference=against_initial.difference if against_initial else None,
            gate=gate,
        ).write(join(folder, "evaluation.json"))

    async def _answer(self, questions: list[Question]) -> list[HeldoutAnswer]:
        return await answer_questions(
            self._pools.policy, questions, self._setup.render, max_tokens=self._max_tokens, progress=self._progress,
            refusal=self._setup.refusal,
        )  # fmt: skip

    async def _compare(self, answers: list[HeldoutAnswer], folder: str, title: str) -> Comparison:
        """Compare answers with those of an earlier evaluation, and say on how many the judge failed."""
        others = [HeldoutAnswer(**row) for row in read_table(join(folder, "answers.parquet")).to_pylist()]
        recipe = self._setup.recipe
        compared = await compare_answers(
            answers, others, self._setup.heldout, self._judge,
            confidence=recipe.evaluation.confidence, seed=recipe.seed,
        )  # fmt: skip
        if errors := compared.errors:
            share = f"{errors:,} of {len(answers):,} questions ({100 * errors / len(answers):.1f}%)"
            self._progress.say(f"{title}: the judge failed on {share}, which are left out of the win rate")
        return compared

    async def _kl(self) -> Estimate:
        """Return KL(policy || initial policy) in nats per answer: the estimator k1 of Schulman 2020."""
        recipe, pool = self._setup.recipe, self._pools.policy
        asked = [each for each in self._setup.heldout if not each.unasked]
        questions = asked[: recipe.evaluation.kl_questions]
        samples = await sample_policy(
            pool, questions, self._setup.render, max_tokens=self._max_tokens, seed=recipe.seed
        )
        logps = await initial_logps(pool, samples)
        differences = [each.logp - initial for each, initial in zip(samples, logps, strict=True)]
        return mean_interval(differences, recipe.evaluation.confidence, recipe.seed)

    async def _gate(
        self, answers: list[HeldoutAnswer], against_initial: Comparison, earlier: Sequence[str], title: str
    ) -> GateResult:
        """Compare the answers with those of the current policy and of the best one so far."""
        section, seed = self._setup.recipe.rounds.gate, self._setup.recipe.seed
        scored = all(answer.score is not None for answer in answers)
        found = [EvaluationRecord.read(join(folder, "evaluation.json")) for folder in earlier]
        records = dict(zip(earlier, found, strict=True))
        best = best_of(earlier, [_rank(record, scored) for record in found])

        async def opponent(folder: str) -> Opponent:
            record = records[folder]
            mean = (_rank(record, scored) if scored else 0.5) if record else None
            same = folder == self._initial
            compared = against_initial if same else await self._compare(answers, folder, title)
            return Opponent(record.policy if record else "", mean, compared)

        current = await opponent(earlier[-1])
        other = None if best == earlier[-1] or section.confidence is None else await opponent(best)
        if scored:
            after = mean_interval([float(answer.score or 0.0) for answer in answers]).value
            return decide("score", after, current, other, section=section, seed=seed)
        return decide(
            "win_rate_against_current", current.comparison.wins.value, current, other, section=section, seed=seed
        )


def _rank(record: EvaluationRecord | None, scored: bool) -> float | None:
    """Return an earlier policy's score, or its win rate against the initial one; that one's own is one half."""
    if record is None:
        return None
    found = record.metrics.get("score" if scored else "win_rate")
    return found.value if found else None if scored else 0.5
