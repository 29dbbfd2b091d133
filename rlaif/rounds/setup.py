"""Everything that a run needs, loaded and checked before anything starts.

Invariant: every mistake that a person can make (a file, a name, a column, a model, a full disk) is found here in
seconds, with one message, before Ray or a model starts and before anything is written.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from rlaif.chat import Messages
from rlaif.data.increments import round_items
from rlaif.data.labels import Label
from rlaif.data.question import Question
from rlaif.data.sources import load_questions
from rlaif.errors import UserError
from rlaif.io.files import is_url
from rlaif.judge_evals.gold_set import load_gold_set
from rlaif.judges.build import check_environment, check_judge_templates, limited_spending
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.rating import RewardModelSpec
from rlaif.judges.retrained import reward_models
from rlaif.judges.spec import JudgeSpec
from rlaif.models.chat_template import check_chats
from rlaif.models.policy_source import continued_lora
from rlaif.models.resolve import check_model, find_adapter
from rlaif.models.shape import model_context
from rlaif.models.template_source import check_chat_template
from rlaif.models.trainable import check_trainable
from rlaif.objectives.objective import Materials, Objective
from rlaif.objectives.registry import prepare_objective
from rlaif.preferences.reward_pairs import RewardPair, read_pairs
from rlaif.prompts.question_prompt import question_prompt
from rlaif.prompts.template import PromptTemplate, load_template
from rlaif.recipe import DocumentsSection, PhaseSection, Recipe
from rlaif.retrieval.recipe_searcher import check_access, check_searcher, reranking_judge
from rlaif.retrieval.sources import DocumentSources, documents_of_questions
from rlaif.tracking.tracker import check_trackers

_LEAST_FREE = 200 << 20


@dataclass(frozen=True)
class Setup:
    """A recipe with all that it names, loaded and checked.

    Attributes:
        path: path or URL of the run's folder.
        train, heldout, test: the questions; `test` is empty where the recipe names none.
        judge: the recipe's, of the held-out answers and of each phase that names no other.
        phases: what each phase of the recipe works with.
        gold_set: comparisons on which people prefer one answer; empty where the recipe names none.
        reward_pairs: what people decided for the judge's reward model to learn from; empty where it learns nothing.
        documents: those that contexts are retrieved from; None where none is. `with_contexts` then gives the questions
            their contexts.
    """

    recipe: Recipe
    path: str
    train: list[Question]
    heldout: list[Question]
    test: list[Question]
    judge: JudgeSpec
    answer_template: PromptTemplate
    phases: tuple["PhaseSetup", ...]
    gold_set: tuple[Label, ...] = ()
    reward_pairs: tuple[RewardPair, ...] = ()
    documents: DocumentSources | None = None

    @property
    def refusal(self) -> str:
        """The phrase of a plain refusal, where contexts are retrieved."""
        section = self.recipe.questions.documents
        return section.refusal if section else ""

    @property
    def judges(self) -> list[JudgeSpec]:
        """All judges, each once, the recipe's first."""
        every = [self.judge, *(phase.judge for phase in self.phases)]
        return list({judge.sha: judge for judge in every}.values())

    @property
    def charging(self) -> list[JudgeSpec]:
        """The judges that `judge.max_cost` limits: those of the run, and the one that reranks contexts."""
        return [*self.judges, *_rerankers(self.recipe.questions.documents)]

    def round(self, number: int) -> "RoundSetup":
        """Return what a round works with."""
        index, within = self.recipe.locate(number)
        phase, prepared = self.recipe.every_phase[index], self.phases[index]
        return RoundSetup(phase, prepared.objective, prepared.judge, within, partial(self._questions, number))

    def _questions(self, number: int) -> list[Question]:
        return round_items(self.train, self.recipe.question_amounts(number), self.recipe.seed)

    def render(self, question: Question) -> Messages:
        """Return the chat that asks the policy a question."""
        return question_prompt(self.answer_template, question)


@dataclass(frozen=True)
class PhaseSetup:
    """What a phase works with beside its settings."""

    objective: Objective[Any]
    judge: JudgeSpec


@dataclass(frozen=True)
class RoundSetup:
    """What a round works with.

    Attributes:
        number: of the round within its phase, from 0.
        taken: returns the questions that it takes of the train set, if its phase takes any.
    """

    phase: PhaseSection
    objective: Objective[Any]
    judge: JudgeSpec
    number: int
    taken: Callable[[], list[Question]]

    @cached_property
    def questions(self) -> list[Question]:
        """Those that the round takes of the train set, in order; found when they are asked for."""
        return self.taken() if self.phase.takes_questions else []


def prepare(recipe: Recipe, runs: str) -> Setup:
    """Load and check everything that a recipe names; `runs` is the path or URL of the folder of runs.

    Raises:
        UserError: with the file, line or field and what was expected.
    """
    path = f"{runs.rstrip('/')}/{recipe.name}"
    if not is_url(runs):
        path = str(Path(runs).resolve() / recipe.name)
        _check_disk(path)
    check_trackers(recipe.tracking, path)
    answer_template = load_template(recipe.policy.prompt)
    if answer_template.kind != "answer":
        raise UserError(f"{answer_template.path}: kind is {answer_template.kind}; policy.prompt expects kind answer")
    judge, *own_judges = (
        load_judge_file(section.name, section)
        for section in (recipe.judge, *(phase.judge or recipe.judge for phase in recipe.every_phase))
    )
    judges = list({each.sha: each for each in (judge, *own_judges)}.values())
    check_model(recipe.policy.model, recipe.policy.revision)
    check_trainable(recipe.policy.model, recipe.policy.revision)
    recipe = with_adapter_settings(recipe)
    for each in judges:
        own = {leaf.model for leaf in each.leaves if isinstance(leaf, RewardModelSpec)}
        for model in sorted((each.models | own) - {"policy"}):
            check_model(model)
    check_chat_template(
        recipe.policy.model, recipe.policy.revision, recipe.policy.chat_template_kwargs,
        key="policy.chat_template_kwargs",
    )  # fmt: skip
    if recipe.questions.documents is not None:
        check_searcher(recipe.questions.documents)
    limited_spending([*judges, *_rerankers(recipe.questions.documents)], recipe.judge.max_cost)
    for each in judges:
        check_judge_templates(each, recipe.policy)
        check_environment(each)
    # The model's config may not be on this machine.
    longest = model_context(recipe.policy.model)
    if longest is not None and recipe.policy.max_length > longest:
        raise UserError(
            f"policy.max_length: {recipe.policy.max_length} tokens, but {recipe.policy.model} takes {longest}; "
            "expected at most that"
        )
    tables, section = recipe.policy.tables, recipe.questions.documents
    train, heldout, test = (
        load_questions(source, tables, documents=section is not None) if source else []
        for source in (recipe.questions.train, recipe.questions.heldout, recipe.questions.test)
    )
    if shared := {question.id for question in train} & {question.id for question in heldout}:
        raise UserError(f"questions: {len(shared)} held-out questions are also trained on, such as id {min(shared)}")
    gold_set = load_gold_set(recipe.judge.gold_set)
    people = _reward_pairs(recipe, [judge, *own_judges])
    phases = []
    for index, (phase, phase_judge) in enumerate(zip(recipe.every_phase, own_judges, strict=True)):
        materials = Materials(
            train, recipe.policy, recipe.training.lora, answer_template, f"phases.{index}", recipe.feedback
        )
        phases.append(PhaseSetup(prepare_objective(phase, materials), phase_judge))
    setup = Setup(
        recipe, path, train, heldout, test, judge, answer_template, tuple(phases), gold_set, people,
        documents=_documents(section, {"train": train, "heldout": heldout, "test": test}, recipe.judge.max_cost),
    )  # fmt: skip
    _check_chats(setup)
    return setup


def _rerankers(section: DocumentsSection | None) -> list[JudgeSpec]:
    judge = reranking_judge(section) if section is not None and section.contexts == "retrieved" else None
    return [judge] if judge is not None else []


def _documents(
    section: DocumentsSection | None, sets: Mapping[str, Sequence[Question]], max_cost: float | None
) -> DocumentSources | None:
    """Return the documents that the contexts of questions are retrieved from; None where they are not retrieved.

    Raises:
        UserError: no train question has a document, or what searches them is missing.
    """
    if section is None or section.contexts == "gold":
        return None
    check_access(section, max_cost)
    found = documents_of_questions(section, sets)
    without = [found.missing.get(("train", each.id)) for each in sets["train"] if not each.context]
    if without and all(without) and len(without) == len(sets["train"]):
        first = sets["train"][0].id
        raise UserError(f"questions.documents: no train question has a document, such as {first}: {without[0]}")
    return found


def _reward_pairs(recipe: Recipe, judges: Sequence[JudgeSpec]) -> tuple[RewardPair, ...]:
    """Return people's pairs for the reward model that the run trains anew, or raise UserError if it cannot."""
    section = recipe.reward
    if not section.retrain:
        return ()
    found = [reward_models(judge) for judge in judges]
    if not any(found):
        raise UserError("reward.retrain: no judge of the run has a reward model; expected one of kind reward-model")
    if several := next((judge.name for judge, models in zip(judges, found, strict=True) if len(models) > 1), None):
        raise UserError(f"reward.retrain: judge {several} has several reward models; expected one to train anew")
    try:
        section.training.check_step(recipe.cluster.training.workers)
    except ValueError as error:
        raise UserError(f"reward.{error}") from None
    if section.pairs is None:
        return ()
    return read_pairs(section.pairs, next(models[0] for models in found if models).template).pairs


def _check_chats(setup: Setup) -> None:
    """Check that the policy, and each reward model that judges, take the questions that are chats."""
    policy = setup.recipe.policy
    chats = [question for question in (*setup.train, *setup.heldout, *setup.test) if question.chat]
    asked = ((f"question {each.id}", setup.render(each)) for each in chats)
    check_chats(policy.model, policy.revision, policy.chat_template_kwargs, asked)
    for leaf in (leaf for judge in setup.judges for leaf in judge.leaves):
        if isinstance(leaf, RewardModelSpec):
            scored = [(f"question {each.id}", question_prompt(leaf.template, each)) for each in chats]
            check_chats(leaf.model, None, {}, scored)


def with_adapter_settings(recipe: Recipe) -> Recipe:
    """Return a recipe whose `training.lora` is that of the adapter which it continues, if it does.

    Raises:
        UserError: a setting of the recipe differs from the adapter's.
    """
    policy, lora = recipe.policy, recipe.training.lora
    if lora is None or (adapter := find_adapter(policy.model, policy.revision)) is None:
        return recipe
    return recipe.with_lora(continued_lora(lora, adapter))


def _check_disk(path: str) -> None:
    folder = Path(path)
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"{path}: cannot write to {folder}; name another folder with --runs")
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE:
        raise UserError(
            f"{path}: {free >> 20} MiB free on its disk, a run needs at least {_LEAST_FREE >> 20}; "
            "free some or name another folder with --runs"
        )
