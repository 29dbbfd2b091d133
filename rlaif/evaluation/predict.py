"""Answers to a file of questions, outside any round."""

import asyncio

import yaml

from rlaif.cluster.ray_cluster import ray_cluster, uses_gpus
from rlaif.data.question import Question
from rlaif.data.sources import load_questions
from rlaif.errors import UserError
from rlaif.evaluation.heldout import answer_questions, predictions_csv
from rlaif.inference.pools import Pools
from rlaif.io.files import write_bytes
from rlaif.models.resolve import check_model, resolve_model, weights_id
from rlaif.progress import Progress
from rlaif.prompts.template import load_template
from rlaif.recipe import FileQuestions, Recipe, parse_recipe
from rlaif.store.events import ignore_event
from rlaif.store.policies import current_policy
from rlaif.store.policy_weights import PolicyWeights
from rlaif.store.rundir import RunDir
from rlaif.store.runs import find_run


def predict_with_run(
    run: str, runs: str, questions: str, output: str, overrides: list[str], address: str | None, progress: Progress
) -> int:
    """Answer questions with the current policy of a run; returns how many.

    Raises:
        UserError: there is no such run, or the questions cannot be read.
    """
    directory = find_run(run, runs)
    text = directory.recipe_text()
    if text is None:
        raise UserError(f"{directory.place}: no recipe.yaml there; expected a run that `rlaif run` has begun")
    recipe = parse_recipe(text, directory.path("recipe.yaml"), overrides)
    return _predict(recipe, directory, questions, output, address, progress)


def predict_with_model(
    model: str, questions: str, output: str, overrides: list[str], address: str | None, progress: Progress
) -> int:
    """Answer questions with a model as it is; returns how many. See `predict_with_run`."""
    check_model(model)
    # A recipe of defaults: only the policy, the sampling and the cluster matter here.
    file = {"type": "file", "path": questions}
    tree = {"policy": {"model": model}, "questions": {"train": file, "heldout": file}, "judge": {"name": "reference"}}
    return _predict(parse_recipe(yaml.safe_dump(tree), "--set", overrides), None, questions, output, address, progress)


def _predict(
    recipe: Recipe, run: RunDir | None, questions: str, output: str, address: str | None, progress: Progress
) -> int:
    columns = recipe.questions.test or recipe.questions.heldout
    named = {"columns": columns.columns} if isinstance(columns, FileQuestions) else {}
    prompts = load_questions(FileQuestions(path=questions, **named))
    answer_template = load_template(recipe.policy.prompt)
    max_tokens = recipe.evaluation.max_tokens or recipe.sampling.max_tokens

    def render(prompt: Question) -> list[dict[str, str]]:
        return answer_template.render(question=prompt.question, context=prompt.context)

    async def answer() -> bytes:
        pools = Pools(recipe, (), base_id, uses_gpus(recipe), ignore_event)
        try:
            progress.stage("start engines", 1)
            await pools.start(judges=False)
            current = current_policy(run, base_id, 10_000)[0] if run else PolicyWeights(base_id, "base")
            await pools.policy.update(current)
            progress.stage("answer", len(prompts))
            answers = await answer_questions(pools.policy, prompts, render, max_tokens, progress)
        finally:
            await pools.release()
        for failed in (answer for answer in answers if answer.failure):
            progress.say(f"  {failed.id}: {failed.failure}")
        return predictions_csv(answers)

    with ray_cluster(address):
        base_id = weights_id(resolve_model(recipe.policy.model, recipe.policy.revision))
        write_bytes(output, asyncio.run(answer()))
    return len(prompts)
