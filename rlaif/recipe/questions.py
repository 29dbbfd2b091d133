"""Where a run's questions come from: a file, a dataset of the hub, or the built-in demo filings."""

from typing import Annotated, Literal

from pydantic import Field

from rlaif.recipe.base import Section
from rlaif.recipe.documents import DocumentsSection


class Columns(Section):
    """Which column of a file holds what, for files that do not use our own names; null reads no column."""

    question: str = "question"
    """Column of the question's text. An empty question is refused."""
    messages: str | None = "messages"
    """Column of the chat of a question that is one: a list of messages with `role` and `content`, which ends with the
    user's turn. That turn is the question, and the row needs no other."""
    id: str | None = "id"
    """Column of the id, which no two rows share. A row without one gets an id made from its question and context."""
    context: str | None = "context"
    """Column of the text that the answer must follow from: a text, or a list of texts, of objects with a `text`, or of
    titles with their sentences."""
    gold_answer: str | None = "gold_answer"
    """Column of the gold answer, where one is known: a text, a number, a list of several of which each is right, or an
    object with such a list as `text`."""
    doc_link: str | None = "doc_link"
    """Column of a link to the document that the question is about."""
    document: str | None = "document"
    """Column of the name or path of the document that the question is about; read where the recipe has
    `questions.documents`, or where it is named here."""
    evidence: str | None = "evidence"
    """Column of the passage that supports the gold answer, in the forms of `context`; read as `document` is."""
    criteria: str | None = "criteria"
    """Column of the question's own criteria: an object of criteria by name, or its JSON as text."""


class FileQuestions(Section):
    """Questions from a file of JSON, CSV or Parquet, told apart by the file's ending."""

    type: Literal["file"] = "file"
    path: str = Field(min_length=1)
    """Path or fsspec URL (`s3://...`) of a `.jsonl`, `.json`, `.csv`, `.tsv` or `.parquet` file, also compressed
    (`.csv.gz`); a relative path starts at the working directory."""
    columns: Columns = Columns()
    """Names of the columns that hold each part of a question."""
    limit: int | None = Field(default=None, ge=1)
    """Take only the first so many questions; null takes all."""


class DatasetQuestions(Section):
    """Questions from a dataset that `datasets.load_dataset` finds, on the hub or on disk."""

    type: Literal["dataset"] = "dataset"
    id: str = Field(min_length=1)
    """The dataset's id on the hub, or a local folder."""
    name: str | None = None
    """The dataset's configuration, where it has several."""
    split: str = "train"
    """The split to read; on the hub also a slice, such as `train[:6500]`."""
    columns: Columns = Columns()
    """Names of the columns that hold each part of a question."""
    limit: int | None = Field(default=None, ge=1)
    """Take only the first so many questions; null takes all."""


class DemoQuestions(Section):
    """Questions on fictional filings, written by the project's own seeded generator."""

    type: Literal["demo"] = "demo"
    split: Literal["train", "heldout"] = "train"
    """The two splits share no company, so nothing of one can be learned by heart for the other."""
    count: int = Field(default=200, ge=1, le=100_000)
    """How many questions to write."""
    seed: int = 0
    """Seed of the generator; the same seed writes the same filings on every machine."""


QuestionSource = Annotated[FileQuestions | DatasetQuestions | DemoQuestions, Field(discriminator="type")]


class QuestionsSection(Section):
    """The three sets of questions of a run."""

    train: QuestionSource
    """Questions that the rounds sample candidates for."""
    heldout: QuestionSource
    """Questions that are never trained on; the gate and every reported metric use them."""
    test: QuestionSource | None = None
    """Questions to answer after every round into `predictions.csv`; null answers the held-out ones. With gold answers
    they give a score that no gate has seen."""
    documents: DocumentsSection | None = None
    """Documents that questions without a context get one from; null takes contexts as they are."""
