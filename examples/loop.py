"""The algorithm on the embedded model: sample, judge, decide, pair, train, gate. `python examples/loop.py`

`rlaif run` adds what a long run needs: resuming, events, a spending limit, sampling ahead; see `rlaif/rounds/loop.py`.
"""

import asyncio
import tempfile

from rlaif.cluster.ray_cluster import ray_cluster
from rlaif.inference.pools import RunPools
from rlaif.judges.build import open_judge
from rlaif.models.policy_source import policy_source
from rlaif.preferences.round_pairs import write_pairs
from rlaif.progress import Silent
from rlaif.recipe import Recipe, load_recipe
from rlaif.rounds.dispatcher import sample_and_judge
from rlaif.rounds.evaluation_stage import PolicyEvaluation
from rlaif.rounds.setup import prepare
from rlaif.rounds.training_stage import train_policy
from rlaif.store.events import ignore_event
from rlaif.store.policy_weights import PolicyWeights
from rlaif.store.records.round_records import EvaluationRecord
from rlaif.store.rundir import RunDir
from rlaif.training.workers import TrainingWorkers

QUIET = {"progress": Silent(), "emit": ignore_event}


async def align(recipe: Recipe, runs: str) -> list[float]:
    """Return the held-out score of the initial policy and of the current one after each round."""
    setup = prepare(recipe, runs)
    recipe, base = setup.recipe, policy_source(recipe.policy, recipe.training.lora).policy_id()
    run, questions = RunDir(setup.path), {question.id: question for question in setup.train}
    pools = RunPools(
        recipe.policy, recipe.sampling, recipe.training, recipe.cluster,
        base_id=base, judge_models=setup.judge.models, judge_tokens=1, gpu=False, emit=ignore_event,
    )  # fmt: skip
    async with TrainingWorkers(recipe.cluster.training, gpu=False) as workers, open_judge(setup.judge, pools) as judge:
        evaluation = PolicyEvaluation(setup, pools, judge, initial=run.path("initial"), progress=Silent())

        async def measure(policy: PolicyWeights, folder: str, earlier: list[str]) -> EvaluationRecord | None:
            await pools.policy.update(policy)  # A probe proves that the engines have the trainer's weights.
            await evaluation.evaluate(folder, "evaluate", earlier)
            return EvaluationRecord.read(f"{folder}/evaluation.json")

        await pools.start()
        current, promoted = pools.policy.base, [run.path("initial")]
        scores = [(await measure(current, promoted[0], [])).metrics["score"].value]
        for number in range(recipe.rounds.count):
            directory = run.round(number)
            await pools.policy.update(current)
            await sample_and_judge(directory, setup, pools.policy, judge, **QUIET)
            scores.append(scores[-1])
            # Decides each comparison by its verdicts; a tie, an unreadable reply or an error never becomes a pair.
            if not write_pairs(directory, questions, judge, recipe.pairs, render=setup.render).pairs:
                continue
            objective = setup.round(number).objective
            await train_policy(
                directory, recipe, current, recipe.training, objective, pools=pools, workers=workers, **QUIET
            )
            trained = directory.trained_policy()
            measured = await measure(trained, directory.root, promoted)
            if measured.promoted:  # The gate.
                current, scores[-1] = trained, measured.metrics["score"].value
                promoted.append(directory.root)
        await pools.release()
    return scores


if __name__ == "__main__":
    with ray_cluster(None), tempfile.TemporaryDirectory() as runs:
        print(asyncio.run(align(load_recipe("demo"), runs)))
