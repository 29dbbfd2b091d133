"""Finds documents by what people write: paths, folders, fsspec URLs and web addresses.

Invariant: what is found is in one order on every machine; a web address is fetched only by a `Fetcher` that the caller
gives; and no two documents have one name.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rlaif.documents.fetching import Fetcher
from rlaif.documents.names import document_name, is_link
from rlaif.documents.reading import ENDINGS, too_large
from rlaif.errors import Fault, UserError, first_line
from rlaif.io.files import filesystem, is_url


@dataclass(frozen=True, slots=True)
class Link:
    """Where a document is.

    Attributes:
        name: how people and questions call it.
        path: local path, fsspec URL or web address.
    """

    name: str
    path: str

    def content(self, fetcher: Fetcher | None, most: int) -> bytes:
        """Return the document's bytes; raises UserError if they cannot be read or are more than `most`."""
        if is_link(self.path):
            if fetcher is None:
                raise UserError(Fault(self.path, "is a web address, and nothing is fetched unless it is allowed"))
            return fetcher.fetch(self.path)
        system, inner = filesystem(self.path)
        try:
            if not system.isfile(inner):
                raise UserError(Fault(self.path, "is no file" if system.exists(inner) else "no such file"))
            with system.open(inner, "rb") as file:
                data = bytes(file.read(most + 1))
        except OSError as error:
            raise UserError(Fault(self.path, f"cannot be read: {error.strerror or first_line(error)}")) from None
        if len(data) > most:
            raise UserError(Fault(self.path, too_large(system.size(inner), most)))
        return data


def find_documents(paths: Iterable[str]) -> list[Link | Fault]:
    """Return the documents at paths, in their order; those of a folder, and of the folders in it, are sorted.

    Documents whose files have one name are called by their paths. A path without documents is a fault in its place.
    """
    found: list[str | Fault] = []
    for path in paths:
        inner = list(paths_within(path))
        found += inner or [Fault(path, "holds no documents", expected=f"files of {', '.join(ENDINGS)}")]
    called = Counter(document_name(path).casefold() for path in dict.fromkeys(found) if isinstance(path, str))
    return [
        path
        if isinstance(path, Fault)
        else Link(document_name(path) if called[document_name(path).casefold()] == 1 else path, path)
        for path in dict.fromkeys(found)
    ]


def paths_within(path: str) -> Iterator[str]:
    """Yield a path, or the documents in it if it is a folder, without hidden files."""
    if is_link(path):
        yield path
    elif is_url(path):
        system, inner = filesystem(path)
        if not system.isdir(inner):
            yield path
            return
        scheme = path.partition("://")[0]
        for file in sorted(map(str, system.find(inner))):
            if _is_document(file.rsplit("/", 1)[-1]):
                yield file if "://" in file else f"{scheme}://{file}"
    elif os.path.isdir(path):
        # Links to folders are not followed: they may lead in a circle.
        for folder, folders, files in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (str(Path(folder) / name) for name in sorted(files) if _is_document(name))
    else:
        yield path


def _is_document(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.startswith(".")
