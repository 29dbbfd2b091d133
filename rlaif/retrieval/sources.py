"""Which documents questions are about, and where they are.

Invariant: a question that brings no context has a document, all documents, or a reason why it has none.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rlaif.data.question import Question
from rlaif.documents.links import paths_within
from rlaif.documents.names import DocumentNames, document_name, is_link
from rlaif.documents.reading import ENDINGS
from rlaif.errors import Fault, UserError
from rlaif.io.files import filesystem, is_url
from rlaif.recipe.documents import DocumentsSection

QuestionKey = tuple[str, str]
"""The set of a question and its id, since two sets may have questions of one id."""


@dataclass(frozen=True, slots=True)
class DocumentSources:
    """The documents of some questions.

    Attributes:
        paths: local paths, fsspec URLs or links of the documents, by their names.
        of: the name of each question's document; None for one that is asked about all of them.
        missing: why the other questions have none.
    """

    paths: Mapping[str, str]
    of: Mapping[QuestionKey, str | None] = field(default_factory=dict)
    missing: Mapping[QuestionKey, str] = field(default_factory=dict)


def documents_of_questions(section: DocumentsSection, sets: Mapping[str, Sequence[Question]]) -> DocumentSources:
    """Find the documents of the questions that bring no context; nothing is read or fetched.

    Raises:
        UserError: there is no such folder, or it has no document that all questions are asked about.
    """
    listed = _listed(section.folder) if section.folder else {}
    names = DocumentNames(listed)
    called = _names(listed)
    paths = {called[inner]: path for inner, path in listed.items()} if section.scope == "all" else {}
    of: dict[QuestionKey, str | None] = {}
    missing: dict[QuestionKey, str] = {}
    for set_, questions in sets.items():
        for question in (each for each in questions if not each.context):
            key = (set_, question.id)
            if section.scope == "all":
                of[key] = None
                continue
            inner = next(
                filter(None, (names.find(name) for name in (question.document, question.doc_link) if name)), ""
            )
            name, path = (called[inner], listed[inner]) if inner else _elsewhere(question, section)
            if not path:
                missing[key] = name
                continue
            # Two documents elsewhere may be called the same.
            name = name if paths.get(name, path) == path else path
            of[key], paths[name] = name, path
    if section.scope == "all" and of and not paths:
        raise UserError(Fault(str(section.folder), "no document", expected=f"files that end in {', '.join(ENDINGS)}"))
    return DocumentSources(dict(sorted(paths.items())), of, missing)


def _elsewhere(question: Question, section: DocumentsSection) -> tuple[str, str]:
    """Return the name and the path or link of a document that is not in the folder; a reason and "" without one."""
    name, link = question.document, question.doc_link
    if name and not is_link(name) and not is_url(name) and Path(name).is_file():
        return document_name(name), name
    if not (name or link):
        return "names no document", ""
    return f"its document {name or link} is not in {section.folder or 'a folder'}", ""


def _listed(folder: str) -> dict[str, str]:
    """Return the documents in a folder and in the folders in it: each path or URL by its path within."""
    system, root = filesystem(folder)
    if not system.isdir(root):
        raise UserError(Fault(folder, "no such folder", expected="the folder of the documents (questions.documents)"))
    found = {}
    for path in paths_within(folder):
        _, whole = filesystem(path)
        # A run may be resumed from another working directory.
        found[whole[len(root.rstrip("/")) :].lstrip("/")] = path if is_url(folder) else whole
    return found


def _names(listed: Mapping[str, str]) -> dict[str, str]:
    """Return what each document is called: its name, or its path within the folder where two have one name."""
    short = {inner: document_name(inner) for inner in listed}
    several = Counter(name.casefold() for name in short.values())
    return {inner: inner if several[name.casefold()] > 1 else name for inner, name in short.items()}
