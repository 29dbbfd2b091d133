"""Which documents questions are about, and where they are.

Invariant: a question that brings no context has a document, all documents, or a reason why it has none.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
    listed = _listed(section)
    names = DocumentNames(listed)
    called = _names(listed)
    paths = {called[inner]: path for inner, path in listed.items()} if section.scope == "all" else {}
    of: dict[QuestionKey, str | None] = {}
    missing: dict[QuestionKey, str] = {}
    for set_, questions in sets.items():
        for question in (each for each in questions if not each.context):
            key = (set_, question.id)
            inner = next(
                filter(None, (names.find(name) for name in (question.document, question.doc_link) if name)), ""
            )
            name, path = (called[inner], listed[inner]) if inner else _elsewhere(question, section)
            if path and (section.scope == "document" or is_link(path)):
                # Two documents elsewhere may be called the same.
                name = name if paths.get(name, path) == path else path
                paths[name] = path
            if section.scope == "all":
                of[key] = None
            elif path:
                of[key] = name
            else:
                missing[key] = name
    if section.scope == "all" and of and not paths:
        problem, expected = "no document", f"files that end in {', '.join(ENDINGS)}"
        raise UserError(Fault(_where(section), problem, expected=expected + " or links" * section.fetch))
    return DocumentSources(dict(sorted(paths.items())), of, missing)


def _elsewhere(question: Question, section: DocumentsSection) -> tuple[str, str]:
    """Return the name and the path or link of a document that is not in the folder; a reason and "" without one."""
    name, link = question.document, question.doc_link
    if name and not is_link(name) and not is_url(name) and Path(name).is_file():
        return document_name(name), name
    if not (name or link):
        return "names no document", ""
    links = [each for each in (name, link) if each and is_link(each)]
    if links and section.fetch:
        return (name if name and not is_link(name) else document_name(links[0])), links[0]
    allowed = ", and questions.documents.fetch is off" if links else ", and it has no link" if section.fetch else ""
    return f"its document {name or link} is not in {_where(section)}{allowed}", ""


def _where(section: DocumentsSection) -> str:
    return ", ".join(section.roots) or "a folder"


def _listed(section: DocumentsSection) -> dict[str, str]:
    """Return the recipe's documents: the path, URL or link of each by its path within its folder.

    Where two folders have one path within, it is that below the folder as the recipe names it.
    """
    found: dict[str, tuple[str, str]] = {}
    for root in section.roots:
        for inner, named, path in _within(root, must_be_folder=root == section.folder):
            found.setdefault(path, (inner, named))
    several = Counter(inner for inner, _ in found.values())
    return {inner if several[inner] == 1 else named: path for path, (inner, named) in found.items()}


def _within(root: str, *, must_be_folder: bool) -> Iterator[tuple[str, str, str]]:
    """Yield the documents in a folder and in the folders in it, or the one at a path.

    Each is its path within the folder, that below the folder as the recipe names it, and its path, URL or link.
    """
    if is_link(root):
        yield document_name(root), root, root
        return
    system, inner = filesystem(root)
    if not (system.isdir(inner) if must_be_folder else system.exists(inner)):
        key, what = ("folder", "the folder of the documents") if must_be_folder else ("paths", "files and folders")
        problem = f"no such {'folder' if must_be_folder else 'file or folder'}"
        raise UserError(Fault(root, problem, expected=f"{what} (questions.documents.{key})"))
    is_folder = system.isdir(inner)
    folder = inner.rstrip("/") if is_folder else inner.rpartition("/")[0]
    for path in paths_within(root):
        _, whole = filesystem(path)
        within = whole[len(folder) :].lstrip("/")
        # A run may be resumed from another working directory.
        yield within, f"{root.rstrip('/')}/{within}" if is_folder else root, path if is_url(root) else whole


def _names(listed: Mapping[str, str]) -> dict[str, str]:
    """Return what each document is called: its name, or its path within the folder where two have one name."""
    short = {inner: document_name(inner) for inner in listed}
    several = Counter(name.casefold() for name in short.values())
    return {inner: inner if several[name.casefold()] > 1 else name for inner, name in short.items()}
