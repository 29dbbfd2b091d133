"""Which document a question is about, by the name or the link that it gives.

Invariant: a name that fits two documents fits none; the question's own words decide, never their order.
"""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

_ENDINGS = re.compile(r"\.(?:pdf|html?|xhtml|txt|text|md|markdown)$", re.IGNORECASE)


def is_link(text: str) -> bool:
    """Return whether a text is a link to a page of the web.

    >>> is_link("https://example.com/a.pdf"), is_link("filings/a.pdf")
    (True, False)
    """
    return text.lower().startswith(("https://", "http://"))


def document_name(path: str) -> str:
    """Return how people call the document at a path, a URL or a link: the last part, without a known ending.

    >>> document_name("filings/3M_2018_10K.pdf"), document_name("https://x.com/a%20b.htm?c=1"), document_name("v1.2")
    ('3M_2018_10K', 'a b', 'v1.2')
    """
    inside = unquote(urlsplit(path).path) if is_link(path) else path
    last = PurePosixPath(inside.replace("\\", "/")).name or inside
    return _ENDINGS.sub("", last)


class DocumentNames:
    """Finds documents by what questions call them.

    Args:
        paths: of the documents, each with `/` between its parts.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._found: dict[str, set[str]] = {}
        for path in paths:
            parts = [part for part in path.split("/") if part]
            # `10K` finds 2018/10K.pdf where no other folder has one; `2018/10K` always does.
            for start in range(len(parts)):
                end = "/".join(parts[start:])
                for key in {_key(end), _key(_ENDINGS.sub("", end))}:
                    self._found.setdefault(key, set()).add(path)

    def find(self, name: str) -> str | None:
        """Return the path of the document with a name, a part of a path, or the last part of a link; None if unknown.

        Case does not count, and an ending may be left out.

        >>> DocumentNames(["2018/10K.pdf", "2019/10K.pdf", "2019/AR.pdf"]).find("2019/10k")
        '2019/10K.pdf'
        """
        given = document_name(name) if is_link(name) else name.replace("\\", "/").removeprefix("./").strip("/")
        for key in (_key(given), _key(_ENDINGS.sub("", given))):
            found = self._found.get(key, set())
            if len(found) == 1:
                return next(iter(found))
        return None


def _key(name: str) -> str:
    return name.strip().casefold()
