"""Keeps documents that were read, by the sha256 of their bytes and the reader's version, so that none is read twice.

Invariant: a kept document is equal to what reading it again would give; a kept file that cannot be read counts as none.
"""

import gzip
import zlib
from dataclasses import replace
from pathlib import Path

from rlaif.documents.document import Document
from rlaif.documents.document_json import from_json, to_json
from rlaif.io.files import cache_folder, write_bytes


class DocumentCache:
    """A folder of documents."""

    def __init__(self, folder: Path | None = None) -> None:
        """Use a folder; None takes `documents/` in the cache folder."""
        self.folder = folder or cache_folder() / "documents"

    def get(self, sha256: str, reader: str, name: str) -> Document | None:
        """Return the document of bytes with that hash, under a name, or None if it is not kept."""
        try:
            document = from_json(gzip.decompress(self._path(sha256, reader).read_bytes()))
        except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError):
            return None
        if (document.sha256, document.reader) != (sha256, reader):
            return None
        return replace(document, name=name)

    def put(self, document: Document) -> None:
        """Keep a document."""
        # Without the time, so that equal documents are equal files.
        write_bytes(str(self._path(document.sha256, document.reader)), gzip.compress(to_json(document), 5, mtime=0))

    def _path(self, sha256: str, reader: str) -> Path:
        return self.folder / "read" / sha256[:2] / f"{sha256}-{reader}.json.gz"
