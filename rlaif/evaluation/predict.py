"""Answers a file of questions without a run: with a run's current policy, or with any model."""

import asyncio
from collections.abc import Sequence

from pydantic import model_validator

from rlaif.cluster.ray_cluster import ray_cluster, uses_gpus
from rlaif.data.question import Question
from rlaif.data.sources import load_questions
from rlaif.errors import UserError
from rlaif.evaluation.heldout import HeldoutAnswer, answer_questions, predictions_csv
from rlaif.evaluation.unfinished import unfinished_line
from rlaif.inference.pools import Pools, policy_spec
from rlaif.io.column_names import ColumnNames
from rlaif.io.files import write_bytes
from rlaif.models.chat_template import check_chats
from rlaif.models.policy_source import continued_lora, policy_source, token_counts
from rlaif.models.resolve import check_model, find_adapter
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
from rlaif.retrieval.contexts import with_gold_evidence
from rlaif.retrieval.make import contexts_lines, make_contexts
from rlaif.retrieval.recipe_searcher import check_access, check_searcher
from rlaif.retrieval.sources import DocumentSources, documents_of_questions
from rlaif.store.events import ignore_event
from rlaif.store.policy_weights import PolicyWeights
from rlaif.store.rundir import RunDir, find_run


class _Heldout(Section):
    columns: Columns = Columns()


class _Questions(Section):
    heldout: _Heldout = _Heldout()
    documents: DocumentsSection | None = None


class PredictSettings(Section):
    """The sections of a recipe that say how questions are answered."""

    policy: PolicySection
    sampling: SamplingSection = SamplingSection()
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()
    cluster: ClusterSection = ClusterSection()
    questions: _Questions = _Questions()

    @model_validator(mode="after")
    def _answers_fit(self) -> "PredictSettings":
        check_lengths(self.policy, self.sampling, self.evaluation)
        return self


def predict_with_run(
    run: str,
    runs: str,
    questions: str,
    output: str,
    *,
    columns: ColumnNames | None = None,
    documents: str | None = None,
    overrides: list[str],
    address: str | None,
    progress: Progress,
) -> int:
    """Answer a file of questions with the current policy of a run, into a CSV file, and return their number.

    Args:
        run: its name or path.
        runs: folder or URL that holds the runs.
        columns: the file's own names; None takes those of the recipe.
        documents: folder of the documents that the questions are about; None takes that of the recipe, if it has one.
        overrides: `a.b=value` each, of the run's recipe.
        address: of a Ray cluster; None starts one on this machine.

    Raises:
        UserError: there is no such run, or the questions cannot be read.
    """
    directory = find_run(run, runs)
    text = directory.recipe_text()
    if text is None:
        raise UserError(f"{directory.root}: has no recipe.yaml; expected a run that `rlaif run` has begun")
    recipe = stored_recipe(text, directory.path("recipe.yaml"), overrides)
    source = recipe.questions.test or recipe.questions.heldout
    recipes = source.columns if isinstance(source, FileQuestions) else Columns()
    settings = PredictSettings(
        policy=recipe.policy,
        sampling=recipe.sampling,
        training=recipe.training,
        evaluation=recipe.evaluation,
        cluster=recipe.cluster,
        questions=_Questions(documents=_section(recipe.questions.documents, documents)),
    )
    if (section := settings.questions.documents) and section.contexts == "retrieved":
        # Who asks something new does not know the evidence.
        recipes = recipes.model_copy(update={"evidence": None})
    asked = _load(FileQuestions(path=questions, columns=recipes), settings, columns)
    return _predict(settings, directory, asked, output, address=address, progress=progress)


def predict_with_model(
    model: str,
    questions: str,
    output: str,
    *,
    columns: ColumnNames | None = None,
    documents: str | None = None,
    overrides: list[str],
    address: str | None,
    progress: Progress,
) -> int:
    """Answer a file of questions with a model as it is; see `predict_with_run`."""
    check_model(model)
    adapter = find_adapter(model)
    given = {"training": {"lora": adapter.lora.model_dump()}} if adapter else {}
    settings = parse_overrides(PredictSettings, overrides, {"policy": {"model": model}, **given})
    if adapter and settings.training.lora:
        continued_lora(settings.training.lora, adapter, "--set: training.lora")
    own = settings.questions
    own = own.model_copy(update={"documents": _section(own.documents, documents)})
    settings = settings.model_copy(update={"questions": own})
    asked = _load(FileQuestions(path=questions, columns=own.heldout.columns), settings, columns)
    return _predict(settings, None, asked, output, address=address, progress=progress)


def _section(section: DocumentsSection | None, folder: str | None) -> DocumentsSection | None:
    """Return the settings of documents with another folder, if a person names one."""
    if folder is None:
        return section
    return DocumentsSection.model_validate({**(section.model_dump() if section else {}), "folder": folder, "paths": []})


def _load(source: FileQuestions, settings: PredictSettings, columns: ColumnNames | None) -> list[Question]:
    has_documents = settings.questions.documents is not None
    return load_questions(source, settings.policy.tables, columns, documents=has_documents)


def _predict(
    settings: PredictSettings,
    run: RunDir | None,
    questions: Sequence[Question],
    output: str,
    *,
    address: str | None,
    progress: Progress,
) -> int:
    template = load_template(settings.policy.prompt)
    policy = settings.policy
    check_chat_template(policy.model, policy.revision, policy.chat_template_kwargs, key="policy.chat_template_kwargs")
    chats = ((f"question {each.id}", question_prompt(template, each)) for each in questions if each.chat)
    check_chats(policy.model, policy.revision, policy.chat_template_kwargs, chats)
    max_tokens = settings.evaluation.max_tokens or settings.sampling.max_tokens
    section = settings.questions.documents
    if section:
        check_searcher(section)
        check_access(section)
    sources = (
        documents_of_questions(section, {_SET: questions}) if section and section.contexts == "retrieved" else None
    )
    with ray_cluster(address):
        if section:
            questions = _with_contexts(questions, settings, section, sources, progress)
        base_id = policy_source(settings.policy, settings.training.lora).policy_id()
        current = run.current_policy(base_id, 10_000)[0] if run else PolicyWeights(base_id, "base")

        async def answer() -> list[HeldoutAnswer]:
            gpu = uses_gpus(settings.cluster.device)
            spec = policy_spec(settings.policy, settings.training, settings.cluster, base_id=base_id, gpu=gpu)
            attempts = settings.sampling.attempts
            pools = Pools([spec], settings.cluster, gpu=gpu, attempts=attempts, emit=ignore_event)
            (pool,) = pools.pools
            try:
                progress.stage("start engines", 1)
                await pools.start()
                await pool.update(current)
                progress.stage("answer", len(questions))
                return await answer_questions(
                    pool,
                    questions,
                    lambda question: question_prompt(template, question),
                    max_tokens=max_tokens,
                    progress=progress,
                    refusal=section.refusal if section else "",
                )
            finally:
                await pools.release()

        answers = asyncio.run(answer())
    if line := unfinished_line((answer.answer for answer in answers), max_tokens, "evaluation.max_tokens"):
        progress.say(line)
    for failed in (answer for answer in answers if answer.failure):
        progress.say(f"  {failed.id}: {failed.failure}")
    write_bytes(output, predictions_csv(answers))
    return len(answers)


def _with_contexts(
    questions: Sequence[Question],
    settings: PredictSettings,
    section: DocumentsSection,
    sources: DocumentSources | None,
    progress: Progress,
) -> list[Question]:
    """Return the questions with their contexts; without `sources` these are the evidence that they bring."""
    if sources is None:
        return [with_gold_evidence(question) for question in questions]

    def count(texts: Sequence[str]) -> list[int]:
        return token_counts(texts, settings.policy, settings.training.lora)

    contexts = make_contexts(
        {_SET: questions}, sources, section, withheld={}, seed=0, count_tokens=count, progress=progress
    )
    for line in contexts_lines(contexts.record):
        progress.say(line)
    return contexts.given_to(_SET, questions, section.refusal)


_SET = "test"
