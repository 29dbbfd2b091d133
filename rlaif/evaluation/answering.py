"""The policy that answers questions outside a run: a run's current one, or a model as it is, on engines of its own.

Invariant: engines and their Ray actors are given back, however the block that asks them ends.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import model_validator

from rlaif.cluster.ray_cluster import uses_gpus
from rlaif.data.question import Question
from rlaif.errors import UserError
from rlaif.evaluation.heldout import HeldoutAnswer, answer_questions
from rlaif.evaluation.unfinished import unfinished_line
from rlaif.inference.pools import Pools, policy_spec
from rlaif.inference.vllm.pool import EnginePool
from rlaif.io.files import is_url, join
from rlaif.models.chat_template import check_chats
from rlaif.models.policy_source import continued_lora, policy_source, token_counts
from rlaif.models.resolve import check_model, find_adapter, is_path
from rlaif.models.template_source import check_chat_template
from rlaif.progress import Progress
from rlaif.prompts.question_prompt import question_prompt
from rlaif.prompts.template import load_template
from rlaif.recipe import (
    ClusterSection,
    Columns,
    DocumentsSection,
    EvaluationSection,
    FileQuestions,
    PolicySection,
    SamplingSection,
    TrainingSection,
    parse_overrides,
    stored_recipe,
)
from rlaif.recipe.base import Section
from rlaif.recipe.recipe import check_lengths
from rlaif.store.events import ignore_event
from rlaif.store.policy_weights import PolicyWeights
from rlaif.store.rundir import RunDir, find_run


class AskedFile(Section):
    """How a file of questions is read."""

    columns: Columns = Columns()


class AskedQuestions(Section):
    """The questions, in the keys of a recipe."""

    heldout: AskedFile = AskedFile()
    documents: DocumentsSection | None = None


class PredictSettings(Section):
    """The sections of a recipe that say how questions are answered."""

    policy: PolicySection
    sampling: SamplingSection = SamplingSection()
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()
    cluster: ClusterSection = ClusterSection()
    questions: AskedQuestions = AskedQuestions()

    @property
    def max_tokens(self) -> int:
        """Longest answer, in tokens."""
        return self.evaluation.max_tokens or self.sampling.max_tokens

    @model_validator(mode="after")
    def _answers_fit(self) -> "PredictSettings":
        check_lengths(self.policy, self.sampling, self.evaluation)
        return self


@dataclass(frozen=True, slots=True)
class AnsweringPolicy:
    """A policy, and how it answers.

    Attributes:
        run: whose current policy answers; None where the model of the settings does.
    """

    settings: PredictSettings
    run: RunDir | None = None

    def check(self, questions: Sequence[Question]) -> None:
        """Raise UserError if the prompt or the chat template is missing or cannot show one of the questions."""
        policy, template = self.settings.policy, load_template(self.settings.policy.prompt)
        kwargs = policy.chat_template_kwargs
        check_chat_template(policy.model, policy.revision, kwargs, key="policy.chat_template_kwargs")
        chats = ((f"question {each.id}", question_prompt(template, each)) for each in questions if each.chat)
        check_chats(policy.model, policy.revision, kwargs, chats)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, as the policy counts them."""
        return token_counts(texts, self.settings.policy, self.settings.training.lora)

    def answer(self, questions: Sequence[Question], refusal: str, progress: Progress) -> list[HeldoutAnswer]:
        """Answer questions greedily, in their order, by engines that are started for it. Needs Ray, and no event loop.

        Args:
            refusal: the phrase of a plain refusal; "" if none is known.
        """
        template, most = load_template(self.settings.policy.prompt), self.settings.max_tokens

        async def answer() -> list[HeldoutAnswer]:
            async with self.open_pool(progress) as pool:
                progress.stage("answer", len(questions))
                return await answer_questions(
                    pool,
                    questions,
                    lambda question: question_prompt(template, question),
                    max_tokens=most,
                    progress=progress,
                    refusal=refusal,
                )

        answers = asyncio.run(answer())
        if line := unfinished_line((each.answer for each in answers), most, "evaluation.max_tokens"):
            progress.say(line)
        return answers

    @asynccontextmanager
    async def open_pool(self, progress: Progress) -> AsyncIterator[EnginePool]:
        """Start the policy's engines for a block. Needs Ray."""
        settings = self.settings
        base_id = policy_source(settings.policy, settings.training.lora).policy_id()
        current = self.run.current_policy(base_id, 10_000)[0] if self.run else PolicyWeights(base_id, "base")
        gpu = uses_gpus(settings.cluster.device)
        spec = policy_spec(settings.policy, settings.training, settings.cluster, base_id=base_id, gpu=gpu)
        attempts = settings.sampling.attempts
        pools = Pools([spec], settings.cluster, gpu=gpu, attempts=attempts, emit=ignore_event)
        (pool,) = pools.pools
        try:
            progress.stage("start engines", 1)
            await pools.start()
            await pool.update(current)
            yield pool
        finally:
            await pools.release()


def answering_policy(name: str, runs: str, overrides: Sequence[str]) -> AnsweringPolicy:
    """Return the current policy of a run of that name or path, if there is one, or else the model of that name.

    Args:
        runs: folder or URL that holds the runs.
        overrides: `a.b=value` each, of the run's recipe or of `PredictSettings`.

    Raises:
        UserError: there is neither, or an override is wrong.
    """
    run = RunDir(name if is_path(name) or is_url(name) else join(runs, name))
    return policy_of_run(name, runs, overrides) if run.record() is not None else policy_of_model(name, overrides)


def policy_of_run(run: str, runs: str, overrides: Sequence[str]) -> AnsweringPolicy:
    """Return the current policy of a run, by its name in `runs` or its path; see `answering_policy`."""
    directory = find_run(run, runs)
    text = directory.recipe_text()
    if text is None:
        raise UserError(f"{directory.root}: has no recipe.yaml; expected a run that `rlaif run` has begun")
    recipe = stored_recipe(text, directory.path("recipe.yaml"), overrides)
    source = recipe.questions.test or recipe.questions.heldout
    columns = source.columns if isinstance(source, FileQuestions) else Columns()
    settings = PredictSettings(
        policy=recipe.policy,
        sampling=recipe.sampling,
        training=recipe.training,
        evaluation=recipe.evaluation,
        cluster=recipe.cluster,
        questions=AskedQuestions(heldout=AskedFile(columns=columns), documents=recipe.questions.documents),
    )
    return AnsweringPolicy(settings, directory)


def policy_of_model(model: str, overrides: Sequence[str]) -> AnsweringPolicy:
    """Return a model as it is; an adapter keeps its own settings. See `answering_policy`."""
    settings = parse_overrides(PredictSettings, overrides, {"policy": {"model": model}})
    revision = settings.policy.revision
    check_model(model, revision)
    adapter = find_adapter(model, revision)
    if adapter is None:
        return AnsweringPolicy(settings)
    given = {"policy": {"model": model}, "training": {"lora": adapter.lora.model_dump()}}
    settings = parse_overrides(PredictSettings, overrides, given)
    if settings.training.lora:
        continued_lora(settings.training.lora, adapter, "--set: training.lora")
    return AnsweringPolicy(settings)
