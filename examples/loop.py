"""The whole algorithm on the embedded model: sample, judge, decide, pair, train, gate. `python examples/loop.py`

`rlaif run` does the same with shards, resuming, several engines, retries, statistics and events; see `rlaif/rounds`.
"""

import asyncio
import tempfile
from typing import Any

import pyarrow as pa

from rlaif.cluster.ray_cluster import ray_cluster
from rlaif.data.question import Question
from rlaif.data.sources import load_questions
from rlaif.evaluation.heldout import answer_questions, metrics_of
from rlaif.inference.pools import RunPools
from rlaif.inference.requests import SampleRequest
from rlaif.judges.build import build_judge
from rlaif.judges.judge_file import load_judge_file
from rlaif.models.resolve import resolve_model, weights_id
from rlaif.preferences.pairs import PairCounts, pair_rows, sampled_columns
from rlaif.progress import Silent
from rlaif.prompts.template import load_template
from rlaif.recipe import Recipe, load_recipe
from rlaif.rounds.dispatcher import question_seed
from rlaif.rounds.source import round_questions
from rlaif.store.events import ignore_event
from rlaif.store.policy_weights import PolicyWeights
from rlaif.store.tables import PAIRS, write_table
from rlaif.training.dpo.train import train_dpo
from rlaif.training.job import StartingWeights, TrainingJob
from rlaif.training.workers import TrainingWorkers


async def align(recipe: Recipe, folder: str) -> list[float]:
    """Return the held-out score of the initial policy and of the current one after each round."""
    train, heldout = load_questions(recipe.questions.train), load_questions(recipe.questions.heldout)
    template, spec = load_template(recipe.policy.prompt), load_judge_file(recipe.judge.name)
    base = weights_id(resolve_model(recipe.policy.model))
    pools = RunPools(
        recipe.policy, recipe.sampling, recipe.training, recipe.cluster,
        base_id=base, judge_models=spec.models, judge_tokens=1, gpu=False, emit=ignore_event,
    )  # fmt: skip
    engines, judge = pools.policy, build_judge(spec, pools)

    def render(question: Question) -> list[dict[str, str]]:
        return template.render(question=question.question, context=question.context)

    async def score(policy: PolicyWeights) -> float:
        await engines.update(policy)  # proves by a probe that the engines have the trainer's weights
        tokens = recipe.sampling.max_tokens
        answers = await answer_questions(engines, heldout, render, max_tokens=tokens, progress=Silent())
        return metrics_of(answers, recipe.evaluation.confidence, recipe.seed)["score"].value or 0.0

    async def learn_from(question: Question, number: int) -> list[dict[str, Any]]:
        how, seed = recipe.sampling, question_seed(recipe.seed, number, question.id)
        request = SampleRequest(
            question.id, render(question), how.candidates, seed, how.temperature, how.top_p, how.max_tokens
        )
        reply, _ = await engines.sample(request)
        texts = {index: candidate.text for index, candidate in enumerate(reply.candidates)}
        verdicts = await judge.verdicts(question, list(texts.values()))
        sampled = [
            {"candidate": index, "prompt_id": question.id, "prompt_token_ids": reply.prompt_token_ids,
             "token_ids": candidate.token_ids, "logprobs": candidate.logprobs, "policy": reply.policy}
            for index, candidate in enumerate(reply.candidates)
        ]  # fmt: skip
        # Asks `judge.decide` for decisions; a tie, an unreadable reply or an error never becomes a pair.
        return pair_rows(
            question, texts, verdicts, render(question), judge=judge, section=recipe.pairs,
            source_columns=sampled_columns(number, sampled), counts=PairCounts(),
        )  # fmt: skip

    async with TrainingWorkers(recipe.cluster.training, gpu=False) as workers:
        await pools.start()
        current = PolicyWeights(base, "base")
        scores = [await score(current)]
        for number in range(recipe.rounds.count):
            await engines.update(current)
            questions = round_questions(train, recipe.rounds, number, recipe.seed)
            found = await asyncio.gather(*(learn_from(question, number) for question in questions))
            pairs = [row for rows in found for row in rows]
            if not pairs:
                continue  # nothing to learn from: the policy stays
            path, out = f"{folder}/pairs-{number}.parquet", f"{folder}/policy-{number}"
            write_table(path, pa.Table.from_pylist(pairs, schema=PAIRS))
            start = StartingWeights(recipe.policy.model, None, recipe.policy.dtype, current.folder, current.id)
            job = TrainingJob(start, path, out, recipe.training, recipe.seed + number, False, recipe.cluster.training)
            result = await workers.run(train_dpo, job, lambda figures: None)
            trained = PolicyWeights(result.policy_id, "lora", out, result.probe, number + 1)
            after = await score(trained)
            if after >= scores[-1] - recipe.rounds.gate.max_drop:  # the gate
                current = trained
            scores.append(after if current is trained else scores[-1])
        await pools.release()
    return scores


if __name__ == "__main__":
    with ray_cluster(None), tempfile.TemporaryDirectory() as scratch:
        print(asyncio.run(align(load_recipe("demo"), scratch)))
