"""Answers a file of questions without a run: with a run's current policy, or with any model."""

from collections.abc import Sequence

from rlaif.cluster.ray_cluster import ray_cluster
from rlaif.data.question import Question
from rlaif.data.sources import load_questions
from rlaif.evaluation.answering import AnsweringPolicy, PredictSettings, policy_of_model, policy_of_run
from rlaif.evaluation.heldout import predictions_csv
from rlaif.io.column_names import ColumnNames
from rlaif.io.files import write_bytes
from rlaif.progress import Progress
from rlaif.recipe import DocumentsSection, FileQuestions
from rlaif.retrieval.contexts import with_gold_evidence
from rlaif.retrieval.make import contexts_lines, make_contexts
from rlaif.retrieval.recipe_searcher import check_access, check_searcher
from rlaif.retrieval.sources import DocumentSources, documents_of_questions


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
    policy = policy_of_run(run, runs, overrides)
    recipes = policy.settings.questions.heldout.columns
    section = _section(policy.settings.questions.documents, documents)
    if section and section.contexts == "retrieved":
        # Who asks something new does not know the evidence.
        recipes = recipes.model_copy(update={"evidence": None})
    asked = _load(FileQuestions(path=questions, columns=recipes), policy.settings, section, columns)
    return _predict(policy, section, asked, output, address=address, progress=progress)


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
    policy = policy_of_model(model, overrides)
    own = policy.settings.questions
    section = _section(own.documents, documents)
    asked = _load(FileQuestions(path=questions, columns=own.heldout.columns), policy.settings, section, columns)
    return _predict(policy, section, asked, output, address=address, progress=progress)


def _section(section: DocumentsSection | None, folder: str | None) -> DocumentsSection | None:
    """Return the settings of documents with another folder, if a person names one."""
    if folder is None:
        return section
    return DocumentsSection.model_validate({**(section.model_dump() if section else {}), "folder": folder, "paths": []})


def _load(
    source: FileQuestions, settings: PredictSettings, section: DocumentsSection | None, columns: ColumnNames | None
) -> list[Question]:
    return load_questions(source, settings.policy.tables, columns, documents=section is not None)


def _predict(
    policy: AnsweringPolicy,
    section: DocumentsSection | None,
    questions: Sequence[Question],
    output: str,
    *,
    address: str | None,
    progress: Progress,
) -> int:
    policy.check(questions)
    if section:
        check_searcher(section)
        check_access(section)
    sources = (
        documents_of_questions(section, {_SET: questions}) if section and section.contexts == "retrieved" else None
    )
    with ray_cluster(address):
        if section:
            questions = _with_contexts(questions, policy, section, sources, progress)
        answers = policy.answer(questions, section.refusal if section else "", progress)
    for failed in (answer for answer in answers if answer.failure):
        progress.say(f"  {failed.id}: {failed.failure}")
    write_bytes(output, predictions_csv(answers))
    return len(answers)


def _with_contexts(
    questions: Sequence[Question],
    policy: AnsweringPolicy,
    section: DocumentsSection,
    sources: DocumentSources | None,
    progress: Progress,
) -> list[Question]:
    """Return the questions with their contexts; without `sources` these are the evidence that they bring."""
    if sources is None:
        return [with_gold_evidence(question) for question in questions]
    contexts = make_contexts(
        {_SET: questions}, sources, section, withheld={}, seed=0, count_tokens=policy.count_tokens, progress=progress
    )
    for line in contexts_lines(contexts.record):
        progress.say(line)
    return contexts.given_to(_SET, questions, section.refusal)


_SET = "test"
