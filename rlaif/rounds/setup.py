"""Everything that a run is made of, read and checked before anything starts.

Invariant: whatever a person can have got wrong - a file, a name, a column, a model, a full disk - is found here, in
seconds, with one message, before Ray or a model is started and before anything is written.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rlaif.engines.requests import Messages
from rlaif.errors import UserError
from rlaif.judging.judgefile import JudgeSpec, load_judge_file
from rlaif.judging.openai_backend import read_key
from rlaif.judging.promptfile import PromptFile, load_prompt_file
from rlaif.judging.spec import RewardModelSpec
from rlaif.judging.spending import limited_spending, remote_judges
from rlaif.models.resolve import BUILTIN, check_model
from rlaif.questions.prompt import Prompt
from rlaif.questions.sources import load_questions
from rlaif.recipe import Recipe
from rlaif.store.files import is_url

_LEAST_FREE = 200 << 20


@dataclass(frozen=True)
class Setup:
    """A recipe with all that it names, loaded and checked.

    Attributes:
        recipe: the resolved recipe.
        place: path or URL of the run's folder.
        train, heldout, test: the questions; `test` is empty where the recipe names none.
        judge: the judge file, with its members.
        answer_prompt: the prompt file that puts a question to the policy.
    """

    recipe: Recipe
    place: str
    train: list[Prompt]
    heldout: list[Prompt]
    test: list[Prompt]
    judge: JudgeSpec
    answer_prompt: PromptFile

    @property
    def render(self) -> Callable[[Prompt], Messages]:
        """Return what makes a prompt's chat."""
        return lambda prompt: self.answer_prompt.render(question=prompt.question, context=prompt.context)


def prepare(recipe: Recipe, runs: str) -> Setup:
    """Load and check all that a recipe names.

    Args:
        recipe: the recipe.
        runs: path or URL of the folder of runs.

    Raises:
        UserError: with the file, line or field and what was expected.
    """
    place = f"{runs.rstrip('/')}/{recipe.name}"
    if not is_url(runs):
        place = str(Path(runs).resolve() / recipe.name)
        _check_disk(place)
    answer_prompt = load_prompt_file(recipe.policy.prompt)
    if answer_prompt.kind != "answer":
        raise UserError(f"{answer_prompt.path}: kind is {answer_prompt.kind}; policy.prompt expects kind answer")
    judge = load_judge_file(recipe.judge.name)
    check_model(recipe.policy.model)
    own = {leaf.model for leaf in judge.leaves if isinstance(leaf, RewardModelSpec)}
    for model in sorted((judge.models | own) - {"policy"}):
        check_model(model)
    limited_spending(judge, recipe.judge.max_cost)
    for _, backend in remote_judges(judge):
        read_key(backend)
    _check_context(recipe)
    train = load_questions(recipe.questions.train)
    heldout = load_questions(recipe.questions.heldout)
    test = load_questions(recipe.questions.test) if recipe.questions.test else []
    if shared := {prompt.id for prompt in train} & {prompt.id for prompt in heldout}:
        raise UserError(f"questions: {len(shared)} held-out questions are also trained on, such as id {min(shared)}")
    return Setup(recipe, place, train, heldout, test, judge, answer_prompt)


def _check_context(recipe: Recipe) -> None:
    """Compare policy.max_length with what the model takes, where its config is on this machine."""
    longest = model_context(recipe.policy.model)
    if longest is not None and recipe.policy.max_length > longest:
        raise UserError(
            f"policy.max_length: {recipe.policy.max_length} tokens, but {recipe.policy.model} takes {longest}; "
            "expected at most that"
        )


def model_context(model: str) -> int | None:
    """Return the longest sequence that a model takes, in tokens, or None where only a hub knows."""
    if model == BUILTIN:
        return 8192
    config = Path(model) / "config.json"
    if not config.is_file():
        return None
    value = json.loads(config.read_text(encoding="utf-8")).get("max_position_embeddings")
    return int(value) if value else None


def _check_disk(place: str) -> None:
    folder = Path(place)
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"{place}: {folder} is not a folder that can be written to; name another place with --runs")
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE:
        raise UserError(
            f"{place}: {free >> 20} MiB free on its disk, a run needs at least {_LEAST_FREE >> 20}; "
            "free some or name another place with --runs"
        )
